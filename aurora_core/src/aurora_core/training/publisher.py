"""From a trained draft to a version: evaluated on held-out requests, published where it is better, old ones pruned."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from aurora_core import regular
from aurora_core.config.parts import DraftConfig, WeightsConfig
from aurora_core.drafts.family import Draft
from aurora_core.errors import WeightsError
from aurora_core.evaluation.accept import Accepted, coverage, simulate
from aurora_core.evaluation.gain import Gain, paired, spent
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
ERROR = 0.05
"""Probability that a version is published that gains no more than asked for."""
UNTRAINED = 1.1
"""Accept length below which a version of no training is no draft yet: the first one that was trained needs no proof."""
_IN_USE_BYTES = 1 << 20
ALL = "all"
"""In the file of versions in use: which are is not known yet, so that none may be deleted."""


class Publisher:
    """Publishes a trainer's draft.

    Attributes:
        published: the newest version of this training; the next one must beat it.
        withheld: evaluations since then whose gain was within noise.
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
        self.withheld = 0

    def publish(
        self, trainer: Trainer, heldout: Sequence[Sample], provenance: Provenance, *, proof: bool = True
    ) -> None:
        """Publish the draft where it is proved to beat the last version by ``publish_min_gain`` on held-out requests.

        Without ``proof`` it is enough that it does on these. A failure is counted and logged; training continues.
        """
        if not heldout:
            return
        try:
            now, before = self._evaluate(trainer, heldout), self._evaluate_published(trainer, heldout)
            gain = None if before is None else paired(before, now)
            if gain is not None and not self._is_better(trainer, gain, proof=proof):
                self._withhold(gain)
                return
            self.published = self._write(trainer, now.length, gain, provenance)
        except (WeightsError, OSError) as error:
            # Also a volume that cannot be read for a while.
            self._metrics.count(metrics.TRAIN_FAILURES, 1, "publish")
            log.error("nothing published: %s", error)  # noqa: TRY400 (says all there is)
            return
        self.withheld = 0
        was = 0.0 if gain is None else gain.before
        log.info("published version %d: held-out accept length %.3f (was %.3f)", self.published, now.length, was)
        self._prune()

    def _is_better(self, trainer: Trainer, gain: Gain, *, proof: bool) -> bool:
        """Whether the gain is more than asked for, and more than noise at any evaluation since the last version."""
        least = trainer.config.publish_min_gain
        if gain.now <= gain.before + least:
            return False
        if not proof:
            return True
        if gain.before < UNTRAINED and self._store.manifest(self.published).step == 0:
            return True
        return gain.proved(least, spent(ERROR, self._number(trainer)))

    def _number(self, trainer: Trainer) -> int:
        """How many evaluations there were since the last version, this one included, also before a restart."""
        steps = trainer.step - self._store.manifest(self.published).step
        return max(self.withheld + 1, steps // trainer.config.publish_every_steps)

    def _withhold(self, gain: Gain) -> None:
        self.withheld += 1
        self._metrics.count(metrics.TRAIN_WITHHELD)
        log.info(
            "nothing published: a held-out accept length of %.3f (was %.3f) is within noise on %d requests",
            gain.now, gain.before, gain.requests,
        )  # fmt: skip

    def _write(self, trainer: Trainer, now: float, gain: Gain | None, provenance: Provenance) -> int:
        """Write the draft as the next version; returns its number."""
        known = gain is not None and math.isfinite(gain.log_error)
        return self._store.publish(
            lambda folder: checkpoint.write(folder, trainer.draft),
            target_fingerprint=self._target.fingerprint,
            algorithm=trainer.draft.algorithm,
            parent=self.published,
            step=trainer.step,
            tokens=trainer.tokens,
            holdout_accept_length=now,
            parent_holdout_accept_length=0.0 if gain is None else gain.before,
            holdout_gain_error=gain.log_error if gain is not None and known else None,
            provenance=provenance,
            # Also on a volume that was emptied no number is given twice by one training.
            after=self.published,
        ).version

    def _simulated(self, draft: Draft, trainer: Trainer, heldout: Sequence[Sample]) -> Accepted:
        return simulate(draft, trainer.teacher, heldout, steps=self._draft_config.num_steps)

    def _evaluate(self, trainer: Trainer, heldout: Sequence[Sample]) -> Accepted:
        """The draft's simulated verify cycles."""
        found = self._simulated(trainer.draft, trainer, heldout)
        covered = coverage(heldout, trainer.draft.ids, self._target.vocab_size)
        self._metrics.report({metrics.EVAL_ACCEPT_LENGTH: found.length, metrics.EVAL_VOCABULARY_COVERAGE: covered})
        return found

    def _evaluate_published(self, trainer: Trainer, heldout: Sequence[Sample]) -> Accepted | None:
        """The last published version's on the same requests, which change as traffic does.

        None where the volume lost it: nothing is there to beat.
        """
        if self.published not in self._store.versions():
            log.warning("version %d is not on the volume any more: the next version need not beat it", self.published)
            return None
        manifest, contents = self._store.read(self.published)
        draft = checkpoint.from_contents(contents, manifest.algorithm, f"version {self.published}").to(trainer.device)
        found = self._simulated(draft, trainer, heldout)
        self._metrics.report({metrics.EVAL_LIVE_ACCEPT_LENGTH: found.length})
        return found

    def _prune(self) -> None:
        """Delete old versions, but none that is in use; where that cannot be read, none at all."""
        if self._in_use is None:
            return
        try:
            content = regular.read(regular.led_to(self._in_use), _IN_USE_BYTES).decode()
            entries = [entry.strip() for entry in content.split(",")]
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
