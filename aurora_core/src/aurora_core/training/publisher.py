"""From a trained draft to a version: evaluated on held-out requests, published where it is better, old ones pruned."""

import logging
from collections.abc import Sequence
from pathlib import Path

from aurora_core.config.parts import DraftConfig, WeightsConfig
from aurora_core.drafts.family import Draft
from aurora_core.errors import WeightsError
from aurora_core.evaluation.accept import coverage, simulate
from aurora_core.models.target import Target
from aurora_core.protocol import metrics
from aurora_core.samples.schema import Sample
from aurora_core.training.metrics import TrainingMetrics
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from aurora_core.weights.manifest import Provenance
from aurora_core.weights.store import WeightsStore

log = logging.getLogger(__name__)

IMAGE = "AURORA_IMAGE"
"""Environment variable with the name of the image that a trainer runs in."""
ALL = "all"
"""In the file of versions in use: which are is not known yet, so that none may be deleted."""


class Publisher:
    """Publishes a trainer's draft.

    Attributes:
        published: the newest version of this training; the next one must beat it.
    """

    def __init__(
        self,
        store: WeightsStore,
        draft: DraftConfig,
        weights: WeightsConfig,
        target: Target,
        training_metrics: TrainingMetrics,
        published: int,
        in_use: Path | None,
    ) -> None:
        """Take the store.

        Args:
            store: where versions go.
            draft: how many steps serving drafts.
            weights: how many versions are kept.
            target: whose draft it is.
            training_metrics: counts every evaluation and failure.
            published: the version to beat.
            in_use: file of the versions, comma separated, that must be kept; None where versions are pruned elsewhere.
        """
        self._store = store
        self._draft_config = draft
        self._weights = weights
        self._target = target
        self._metrics = training_metrics
        self._in_use = in_use
        self.published = published

    def publish(self, trainer: Trainer, heldout: Sequence[Sample], provenance: Provenance) -> None:
        """Publish the draft where it beats the last version by ``publish_min_gain`` on held-out requests.

        A failure is counted and logged; training continues.
        """
        if not heldout:
            return
        try:
            now, before = self._evaluate(trainer, heldout), self._evaluate_published(trainer, heldout)
            if now <= before + trainer.config.publish_min_gain:
                return
            self.published = self._write(trainer, now, before, provenance)
        except (WeightsError, OSError) as error:
            # Also a volume that cannot be read for a while.
            self._metrics.count(metrics.TRAIN_FAILURES, 1, "publish")
            log.error("nothing published: %s", error)  # noqa: TRY400 (says all there is)
            return
        log.info("published version %d: held-out accept length %.3f (was %.3f)", self.published, now, before)
        self._prune()

    def _write(self, trainer: Trainer, now: float, before: float, provenance: Provenance) -> int:
        """Write the draft as the next version; returns its number."""
        return self._store.publish(
            lambda folder: checkpoint.write(folder, trainer.draft),
            target_fingerprint=self._target.fingerprint,
            algorithm=trainer.draft.algorithm,
            parent=self.published,
            step=trainer.step,
            tokens=trainer.tokens,
            holdout_accept_length=now,
            parent_holdout_accept_length=before,
            provenance=provenance,
            # Also on a volume that was emptied no number is given twice by one training.
            after=self.published,
        ).version

    def _simulated(self, draft: Draft, trainer: Trainer, heldout: Sequence[Sample]) -> float:
        return simulate(draft, trainer.teacher, heldout, steps=self._draft_config.num_steps).length

    def _evaluate(self, trainer: Trainer, heldout: Sequence[Sample]) -> float:
        """The draft's simulated accept length."""
        length = self._simulated(trainer.draft, trainer, heldout)
        covered = coverage(heldout, trainer.draft.ids, self._target.vocab_size)
        self._metrics.report({metrics.EVAL_ACCEPT_LENGTH: length, metrics.EVAL_VOCABULARY_COVERAGE: covered})
        return length

    def _evaluate_published(self, trainer: Trainer, heldout: Sequence[Sample]) -> float:
        """The last published version's on the same requests, which change as traffic does.

        Where the volume lost it, nothing is there to beat.
        """
        if self.published not in self._store.versions():
            log.warning("version %d is not on the volume any more: the next version need not beat it", self.published)
            return 0.0
        manifest, contents = self._store.read(self.published)
        draft = checkpoint.from_contents(contents, manifest.algorithm, f"version {self.published}").to(trainer.device)
        length = self._simulated(draft, trainer, heldout)
        self._metrics.report({metrics.EVAL_LIVE_ACCEPT_LENGTH: length})
        return length

    def _prune(self) -> None:
        """Delete old versions, but none that is in use; where that cannot be read, none at all."""
        if self._in_use is None:
            return
        try:
            entries = [entry.strip() for entry in self._in_use.read_text().split(",")]
            if ALL in entries:
                return
            in_use = [int(entry) for entry in entries if entry]
            gone = self._store.prune(self._weights.keep, in_use)
        except (OSError, ValueError) as error:
            self._metrics.count(metrics.TRAIN_FAILURES, 1, "prune")
            log.error("no version pruned: %s", error)  # noqa: TRY400 (says all there is)
            return
        if gone:
            log.info("pruned versions %s", ", ".join(map(str, gone)))
