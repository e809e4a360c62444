"""What training reports: the names of Aurora's performance metrics, as Prometheus gauges, a log line, and W&B."""

import importlib
from collections.abc import Mapping
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from aurora_core.errors import ConfigError

_GAUGES = {
    "train/step": "Optimizer steps taken",
    "train/tokens": "Tokens trained on",
    "train/loss": "Forward KL a row, mean over unrolled steps",
    "train/lr": "Learning rate",
    "train/grad_norm": "Gradient norm before clipping",
    "eval/accept_length": "Simulated accept length on held-out requests",
    "eval/live_accept_length": "The same, of the last published version",
    "eval/vocabulary_coverage": "Share of held-out spoken tokens that the draft's vocabulary holds",
    "perf/step_time": "Seconds of a training step, data included",
    "perf/data_time": "Seconds of it spent on getting data",
    "perf/compute_time": "Seconds of it spent in forward, backward and optimizer",
    "perf/train_capacity": "Samples a second if data were always there",
    "perf/infer_capacity": "Samples a second that serving delivered while it was sending",
    "perf/infer_batch_time": "Mean seconds between two samples from serving",
    "perf/dispatch_wait": "Seconds that training waited for samples since the last step",
    "pool/training": "Samples to train on",
    "pool/heldout": "Samples to judge by",
    "pool/backlog": "Samples waiting to be taken in",
}


_COUNTERS = {
    "received": ("aurora_train_samples_received", "Samples taken in", ()),
    "evicted": ("aurora_train_samples_evicted", "Samples that left the full pool", ()),
    "rejected": ("aurora_train_samples_rejected", "Samples refused", ("reason",)),
    "failed": ("aurora_train_failures", "Things that failed and were passed over", ("what",)),
}


class TrainingMetrics:
    """Sets gauges, adds to counters, and forwards gauges to W&B where that is wanted.

    Args:
        report_to: "wandb" or "none".
        port: of the Prometheus endpoint, or None.
        ttt_length: unrolled steps.
        labels: of every metric, such as whose trainer this is.
    """

    def __init__(
        self, report_to: str, port: int | None, ttt_length: int, labels: Mapping[str, str] | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        names, self._values = tuple(labels or {}), tuple((labels or {}).values())
        positions = {
            f"train/{kind}_{k}": f"{kind} of unrolled step {k}"
            for k in range(ttt_length)
            for kind in ("loss", "accuracy")
        }
        self._gauges = {
            name: Gauge("aurora_" + name.replace("/", "_"), text, names, registry=self.registry)
            for name, text in (_GAUGES | positions).items()
        }
        self._counters = {
            name: Counter(full, text, [*names, *more], registry=self.registry)
            for name, (full, text, more) in _COUNTERS.items()
        }
        for name, (_, _, more) in _COUNTERS.items():
            if not more:
                # Zero is told from the start: where nothing was ever taken in, all may have been refused.
                self._of(self._counters[name]).inc(0)
        self.latest: dict[str, float] = {}
        self._wandb: Any = None
        if report_to == "wandb":
            try:
                self._wandb = importlib.import_module("wandb").init(project="aurora")
            except ImportError as error:
                message = "training.report_to is wandb, but the package wandb is not installed"
                raise ConfigError(message) from error
        if port is not None:
            start_http_server(port, registry=self.registry)

    def _of(self, metric: Any, *more: str) -> Any:  # noqa: ANN401 (a Gauge or a Counter)
        values = (*self._values, *more)
        return metric.labels(*values) if values else metric

    def count(self, name: Literal["received", "evicted", "rejected", "failed"], amount: float = 1, *more: str) -> None:
        """Add to a counter; ``more`` are the values of its own labels."""
        self._of(self._counters[name], *more).inc(amount)

    def report(self, values: dict[str, float]) -> None:
        """Set gauges by name."""
        for name, value in values.items():
            self._of(self._gauges[name]).set(value)
        self.latest.update(values)
        if self._wandb is not None:
            self._wandb.log(values, step=int(self.latest.get("train/step", 0)))
