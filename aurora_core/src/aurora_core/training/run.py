"""The trainer's process: take samples in, train, evaluate on held-out requests, publish, save; until stopped."""

import hashlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from aurora_core.arithmetic import STATE_DTYPES, short_name
from aurora_core.config.parts import DraftConfig, SamplesConfig, WeightsConfig
from aurora_core.drafts.registry import family_of
from aurora_core.errors import TrainingError, WeightsError
from aurora_core.evaluation.accept import coverage, generated_counts
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.protocol import metrics
from aurora_core.protocol.trainer import TrainerStatus
from aurora_core.samples.pool import Pool
from aurora_core.samples.schema import decode
from aurora_core.samples.transport import SampleSource
from aurora_core.training import follower, head_check, state
from aurora_core.training.arrivals import Arrivals
from aurora_core.training.metrics import TrainingMetrics
from aurora_core.training.publisher import IMAGE, Publisher
from aurora_core.training.report import StatusFile
from aurora_core.training.start import Paths, Start
from aurora_core.training.trainer import StepResult
from aurora_core.weights.manifest import Provenance

log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.2
_DIVERGED_STEPS = 20
_COVERAGE_GAIN = 0.01
"""The vocabulary is chosen again where that would cover this much more of what the target generates."""


class TrainingRun:
    """One trainer from its start to its end."""

    def __init__(
        self,
        start: Start,
        draft: DraftConfig,
        samples: SamplesConfig,
        weights: WeightsConfig,
        target: Target,
        source: SampleSource,
        paths: Paths,
        training_metrics: TrainingMetrics,
    ) -> None:
        training = start.trainer.config
        self._config = training
        self.trainer = start.trainer
        self._target = target
        self._metrics = training_metrics
        store = paths.open_weights()
        self._states = paths.open_states()
        self._stopping = False
        self.saving = False
        self._status = StatusFile(paths.status)
        self._publisher = Publisher(store, draft, weights, target, training_metrics, start.published, paths.in_use)
        aux_width, width = family_of(self.trainer.draft).sample_widths(self.trainer.draft.config)
        dtypes = STATE_DTYPES if samples.dtype == "auto" else (getattr(torch, samples.dtype),)
        self.pool = Pool(
            source,
            lambda payload: decode(
                payload,
                target=target.fingerprint,
                vocab_size=target.vocab_size,
                aux_width=aux_width,
                hidden=width,
                dtypes=dtypes,
            ).cut(training.max_seq_length),
            size=samples.pool_size,
            heldout_size=training.holdout_samples,
            heldout_fraction=training.holdout_fraction,
            replay_fraction=training.replay_fraction,
            salt=start.salt,
            max_age_seconds=samples.max_age_seconds,
            max_bytes=samples.pool_bytes,
        )
        self._damaged = start.damaged
        if start.damaged:
            training_metrics.count(metrics.TRAIN_FAILURES, start.damaged, "damaged")
        self._arrivals = Arrivals(self.pool, training_metrics, start.uses)
        self._passed_over = 0
        self._head_fits = False

    @property
    def finished(self) -> bool:
        """Whether all steps are taken that were asked for; without ``num_train_steps`` training has no end."""
        return self._config.num_train_steps is not None and self.trainer.step >= self._config.num_train_steps

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End after the current step, saving what there is."""
        self._stopping = True

    def _ready(self) -> bool:
        have = len(self.pool.training)
        return have >= self._config.start_samples and self.pool.draws() < have * self._config.reuse

    def run(self, on_step: Callable[[int], None] | None = None) -> None:
        """Train until stopped, or until ``num_train_steps``, then end all other ranks.

        Raises:
            TrainingError: step after step has no gradient, and the last state that was saved is from before; or the
                target's head does not explain the generated tokens of the first samples.
        """
        log.info("training in %s on %s", short_name(self.trainer.dtype), self.trainer.device)
        ranks = self.trainer.ranks
        follower.begin(self.trainer)
        self._metrics.report({metrics.TRAIN_RANKS: ranks.size})
        bar: tqdm[Any] = tqdm(
            total=self._config.num_train_steps, initial=self.trainer.step, desc="train", mininterval=2
        )
        last = time.monotonic()
        while not (self.finished or ranks.any_stops(own=self._stopping)):
            self._arrivals.refill()
            if not self._ready():
                self._write_status(waiting=True)
                time.sleep(_IDLE_SECONDS)
                continue
            self._check_head()
            if self.trainer.step == 0 or self.trainer.step % self._config.publish_every_steps == 0:
                self._review_vocabulary()
            started = time.monotonic()
            count = self._config.draft_accumulation_steps
            micro = [self.pool.draw(self._config.micro_batch, self.trainer.generator) for _ in range(count)]
            drawn = time.monotonic()
            result = self.trainer.train_step(micro)
            done = time.monotonic()
            self._metrics.lag(self.pool.lags())
            self._check(result)
            if not result.tokens:
                continue
            if result.taken:
                self._report(result, started - last, drawn - started, done - drawn, sum(map(len, micro)), bar)
            last = done
            self.saving = True
            if self.trainer.step % self._config.publish_every_steps == 0:
                self.publish()
            if self.trainer.step % self._config.save_every_steps == 0:
                self._save()
            self.saving = False
            self._write_status()
            if on_step is not None:
                on_step(self.trainer.step)
        bar.close()
        self.saving = True
        self._save()
        self.saving = False
        self._write_status()
        # Last of all: a launcher that sees one rank end gives the others little time.
        ranks.end(finished=self.finished)

    def publish(self, *, proof: bool = True) -> None:
        """Publish the draft where it beats the last version on the samples that are held out now.

        Args:
            proof: publish what is proved to, so that no request is served by noise.
        """
        oldest, newest = self.pool.window()
        text = json.dumps(self._config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        provenance = Provenance(
            image=os.environ.get(IMAGE, "")[:500],
            configuration=hashlib.sha256(text.encode()).hexdigest(),
            samples=self.pool.received,
            oldest_sample=oldest,
            newest_sample=newest,
        )
        self._publisher.publish(self.trainer, [entry.sample for entry in self.pool.heldout], provenance, proof=proof)

    def _check_head(self) -> None:
        """Before the first step of a process, and never again: the target's files stay as they are."""
        if self._head_fits:
            return
        try:
            head_check.check(self._target, [entry.sample for entry in self.pool.training], self.trainer.device)
        except TrainingError:
            self._metrics.count(metrics.TRAIN_FAILURES, 1, "head")
            self._write_status()
            raise
        self._head_fits = True

    def _check(self, result: StepResult) -> None:
        if result.taken:
            self._passed_over = 0
            return
        if not result.tokens:
            self._metrics.count(metrics.TRAIN_FAILURES, 1, "no_rows")
            log.warning("no step: none of the drawn samples has a row that the draft can learn from")
            return
        self._passed_over += 1
        self._metrics.count(metrics.TRAIN_FAILURES, 1, "step")
        log.warning("step %d passed over: its gradient is NaN or infinite", self.trainer.step)
        if self._passed_over == _DIVERGED_STEPS:
            message = (
                f"training diverged: {_DIVERGED_STEPS} steps in a row have a gradient that is NaN or infinite; "
                "lower training.hyperparameters.lr, or set precision: fp32"
            )
            raise TrainingError(message)

    def _review_vocabulary(self) -> None:
        """Choose the draft's vocabulary again where traffic has moved away from it."""
        generated = [entry.sample for entry in self.pool.training]
        counts = generated_counts(generated, self._target.vocab_size)
        ids = vocabulary.choose(counts, self.trainer.draft.config.draft_vocab_size)
        size = self._target.vocab_size
        if coverage(generated, ids, size) > coverage(generated, self.trainer.draft.ids, size) + _COVERAGE_GAIN:
            new = self.trainer.set_vocabulary(ids)
            log.info("draft vocabulary: %d tokens new", new)

    def _report(
        self, result: StepResult, waited: float, data: float, compute: float, samples: int, bar: "tqdm[Any]"
    ) -> None:
        capacity, batch_time = self._arrivals.rate()
        train_capacity = samples / max(1e-9, data + compute)
        positions = {metrics.unrolled("loss", k): x for k, x in enumerate(result.loss_per_position)}
        positions |= {metrics.unrolled("accuracy", k): x for k, x in enumerate(result.accuracy_per_position)}
        self._metrics.report(
            {
                metrics.TRAIN_STEP: self.trainer.step,
                metrics.TRAIN_TOKENS: self.trainer.tokens,
                metrics.TRAIN_LOSS: result.loss,
                metrics.TRAIN_LR: result.lr,
                metrics.TRAIN_GRAD_NORM: result.grad_norm,
                metrics.PERF_STEP_TIME: data + compute,
                metrics.PERF_DATA_TIME: data,
                metrics.PERF_COMPUTE_TIME: compute,
                metrics.PERF_TRAIN_CAPACITY: train_capacity,
                metrics.PERF_INFER_CAPACITY: capacity,
                metrics.PERF_INFER_BATCH_TIME: batch_time,
                metrics.PERF_DISPATCH_WAIT: waited,
                metrics.POOL_TRAINING: len(self.pool.training),
                metrics.POOL_HELDOUT: len(self.pool.heldout),
                metrics.POOL_BACKLOG: self.pool.backlog(),
                **positions,
            }
        )
        bar.update(1)
        bar.set_postfix(
            loss=f"{result.loss:.3f}",
            acc=f"{result.accuracy_per_position[0]:.3f}",
            thru=f"{samples / max(1e-9, waited + data + compute):.1f}",
            I=f"{capacity:.1f}",
            T=f"{train_capacity:.1f}",
            wait=f"{waited:.1f}s",
            pool=len(self.pool.training),
        )

    def _save(self) -> None:
        try:
            state.save(self._states, self.trainer, self.pool.uses(), self._publisher.published)
        except (OSError, WeightsError) as error:
            self._metrics.count(metrics.TRAIN_FAILURES, 1, "save")
            log.error("training state not saved: %s", error)  # noqa: TRY400 (says all there is)

    def _write_status(self, *, waiting: bool = False) -> None:
        latest = self._metrics.latest
        status = TrainerStatus(
            step=self.trainer.step,
            tokens=self.trainer.tokens,
            loss=latest.get(metrics.TRAIN_LOSS),
            accept_length=latest.get(metrics.EVAL_ACCEPT_LENGTH),
            samples=len(self.pool.training),
            received=self.pool.received,
            rejected=dict(self.pool.rejected),
            lost=dict(self.pool.lost()),
            waiting=waiting,
            published=self._publisher.published,
            withheld=self._publisher.withheld,
            damaged=self._damaged,
            precision=short_name(self.trainer.dtype),
            ranks=self.trainer.ranks.size,
        )
        if not self._status.write(status):
            self._metrics.count(metrics.TRAIN_FAILURES, 1, "report")


def install_signals(run: TrainingRun) -> None:
    """SIGTERM and SIGINT end the run after its current step."""
    signal.signal(signal.SIGTERM, run.stop)
    signal.signal(signal.SIGINT, run.stop)
