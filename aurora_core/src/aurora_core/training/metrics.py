"""What training reports: the names of Aurora's performance metrics, in Prometheus, a log line, and a tracker."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from aurora_core import listening
from aurora_core.protocol import metrics
from aurora_core.protocol.metrics import Metric
from aurora_core.training.trackers import Track

_KINDS: tuple[Literal["loss", "accuracy"], ...] = ("loss", "accuracy")
_GAUGES = (
    metrics.TRAIN_STEP, metrics.TRAIN_TOKENS, metrics.TRAIN_LOSS, metrics.TRAIN_LR, metrics.TRAIN_GRAD_NORM,
    metrics.TRAIN_RANKS, metrics.EVAL_ACCEPT_LENGTH, metrics.EVAL_LIVE_ACCEPT_LENGTH,
    metrics.EVAL_VOCABULARY_COVERAGE,
    metrics.PERF_STEP_TIME, metrics.PERF_DATA_TIME, metrics.PERF_COMPUTE_TIME, metrics.PERF_TRAIN_CAPACITY,
    metrics.PERF_INFER_CAPACITY, metrics.PERF_INFER_BATCH_TIME, metrics.PERF_DISPATCH_WAIT,
    metrics.POOL_TRAINING, metrics.POOL_HELDOUT, metrics.POOL_BACKLOG,
)  # fmt: skip
_COUNTERS = (
    metrics.TRAIN_SAMPLES_RECEIVED, metrics.TRAIN_SAMPLES_EVICTED, metrics.TRAIN_SAMPLES_REJECTED,
    metrics.TRAIN_SAMPLES_LOST, metrics.TRAIN_WITHHELD, metrics.TRAIN_FAILURES,
)  # fmt: skip
_LAG_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class TrainingMetrics:
    """Sets gauges, adds to counters, and forwards gauges to a tracker where that is configured.

    Args:
        steps: draft steps that are trained.
        labels: of every metric, such as whose trainer this is.
        track: forwards gauges; None where they go nowhere else.
    """

    def __init__(self, steps: int, labels: Mapping[str, str] | None = None, track: Track | None = None) -> None:
        self._track = track
        self.registry = CollectorRegistry()
        names, self._values = tuple(labels or {}), tuple((labels or {}).values())
        positions = (metrics.unrolled(kind, k) for k in range(steps) for kind in _KINDS)
        self._gauges = {one: Gauge(one.name, one.text, names, registry=self.registry) for one in (*_GAUGES, *positions)}
        self._counters = {
            one: Counter(one.name, one.text, [*names, *one.labels], registry=self.registry) for one in _COUNTERS
        }
        for one, counter in self._counters.items():
            if not one.labels:
                # Zero is reported from the start: where nothing was ever taken in, all may have been refused.
                self._of(counter).inc(0)
        lag = metrics.TRAIN_LAG_SECONDS
        self._lag = Histogram(lag.name, lag.text, names, registry=self.registry, buckets=_LAG_BUCKETS)
        self.latest: dict[Metric, float] = {}

    def serve(self, port: int) -> None:
        """Serve them to Prometheus from here on."""
        start_http_server(port, listening.wildcard(), self.registry)

    def _of(self, metric: Any, *more: str) -> Any:  # noqa: ANN401 (a Gauge or a Counter)
        values = (*self._values, *more)
        return metric.labels(*values) if values else metric

    def count(self, counter: Metric, amount: float = 1, *more: str) -> None:
        """Add to a counter; ``more`` are the values of its own labels."""
        self._of(self._counters[counter], *more).inc(amount)

    def lag(self, seconds: Iterable[float]) -> None:
        """Each from a sample's capture to the first step that it is trained on."""
        for one in seconds:
            self._of(self._lag).observe(one)

    def report(self, values: Mapping[Metric, float]) -> None:
        """Set gauges."""
        for gauge, value in values.items():
            self._of(self._gauges[gauge]).set(value)
        self.latest.update(values)
        if self._track is not None:
            step = int(self.latest.get(metrics.TRAIN_STEP, 0))
            self._track({metrics.tracked(gauge): value for gauge, value in values.items()}, step)
