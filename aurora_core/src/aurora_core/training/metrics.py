"""What training reports: the names of Aurora's performance metrics, as Prometheus gauges, a log line, and W&B."""

import importlib
from typing import Any

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


class TrainingMetrics:
    """Sets gauges and forwards them to W&B where that is wanted."""

    def __init__(self, report_to: str, port: int | None, ttt_length: int) -> None:
        self.registry = CollectorRegistry()
        positions = {
            f"train/{kind}_{k}": f"{kind} of unrolled step {k}"
            for k in range(ttt_length)
            for kind in ("loss", "accuracy")
        }
        self._gauges = {
            name: Gauge("aurora_" + name.replace("/", "_"), text, registry=self.registry)
            for name, text in (_GAUGES | positions).items()
        }
        self.rejected = Counter("aurora_train_samples_rejected", "Samples refused", ["reason"], registry=self.registry)
        self.received = Counter("aurora_train_samples_received", "Samples taken in", registry=self.registry)
        self.evicted = Counter(
            "aurora_train_samples_evicted", "Samples that left the full pool", registry=self.registry
        )
        self.failures = Counter(
            "aurora_train_failures", "Things that failed and were passed over", ["what"], registry=self.registry
        )
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

    def report(self, values: dict[str, float]) -> None:
        """Set gauges by name."""
        for name, value in values.items():
            self._gauges[name].set(value)
        self.latest.update(values)
        if self._wandb is not None:
            self._wandb.log(values, step=int(self.latest.get("train/step", 0)))
