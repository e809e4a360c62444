"""What comes in from serving: counted, and how fast."""

import logging
import time
from collections.abc import Mapping

from aurora_core.protocol import metrics
from aurora_core.protocol.metrics import Metric
from aurora_core.samples.pool import Pool
from aurora_core.training.metrics import TrainingMetrics

log = logging.getLogger(__name__)

_LAST = 200


class Arrivals:
    """Fills a pool, and counts what became of samples on their way to it and in it."""

    def __init__(self, pool: Pool, training_metrics: TrainingMetrics, uses: Mapping[str, int]) -> None:
        """Nothing has come yet.

        Args:
            pool: to fill.
            training_metrics: where it is counted.
            uses: how often a sample was trained on before a restart, by name.
        """
        self._pool = pool
        self._metrics = training_metrics
        self._uses: Mapping[str, int] | None = uses
        self._counted: dict[tuple[Metric, str], int] = {}
        self._evicted = 0
        self._times: list[float] = []

    def refill(self) -> None:
        """Take in all that has arrived."""
        uses, self._uses = self._uses, None
        taken = self._pool.refill(uses)
        evicted, self._evicted = self._pool.evicted - self._evicted, self._pool.evicted
        if evicted:
            self._metrics.count(metrics.TRAIN_SAMPLES_EVICTED, evicted)
        if taken:
            self._metrics.count(metrics.TRAIN_SAMPLES_RECEIVED, taken)
            self._times = [*self._times, *[time.monotonic()] * taken][-_LAST:]
        for reason, new in self._new(metrics.TRAIN_SAMPLES_REJECTED, self._pool.rejected):
            log.warning("%d samples refused: %s: %s", new, reason, self._pool.why[reason])
        for reason, new in self._new(metrics.TRAIN_SAMPLES_LOST, self._pool.lost()):
            log.warning("%d samples that an engine could not hand over: %s", new, reason)

    def _new(self, counter: Metric, found: Mapping[str, int]) -> list[tuple[str, int]]:
        """What has come to a count by reason since the last call."""
        new = [(reason, count - self._counted.get((counter, reason), 0)) for reason, count in found.items()]
        self._counted |= {(counter, reason): count for reason, count in found.items()}
        risen = [(reason, more) for reason, more in new if more]
        for reason, more in risen:
            self._metrics.count(counter, more, reason)
        return risen

    def rate(self) -> tuple[float, float]:
        """Samples per second from serving, and mean seconds between two, over the last ones."""
        if len(self._times) < 2 or self._times[-1] == self._times[0]:  # noqa: PLR2004
            return 0.0, 0.0
        span = self._times[-1] - self._times[0]
        return len(self._times) / span, span / len(self._times)
