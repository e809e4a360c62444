"""A trainer of its parts: where it resumes, what it trains on, and where it reports."""

from collections.abc import Mapping

from aurora_core.config.deployment import DeploymentConfig
from aurora_core.models.target import Target
from aurora_core.samples.transport import SampleSource
from aurora_core.training.metrics import TrainingMetrics
from aurora_core.training.parallel import Ranks
from aurora_core.training.run import TrainingRun
from aurora_core.training.start import Paths, resume
from aurora_core.training.trackers import tracker


def assembled(
    config: DeploymentConfig,
    target: Target,
    source: SampleSource,
    paths: Paths,
    ranks: Ranks,
    metrics_port: int | None,
    labels: Mapping[str, str],
) -> TrainingRun:
    """A trainer that resumes where the last one ended.

    Args:
        config: of the deployment.
        target: whose draft it trains.
        source: of samples.
        paths: where it keeps what.
        ranks: those that train together.
        metrics_port: where to serve Prometheus metrics; None for nowhere.
        labels: of every metric.

    Raises:
        WeightsError: as of :func:`aurora_core.training.start.resume`.
        ConfigError: a tracker's package is not installed.
    """
    resumed = resume(config.training, target, paths, ranks)
    steps = resumed.trainer.unrolled.steps
    metrics = TrainingMetrics(steps, labels, tracker(config.training.report_to, paths.state))
    if metrics_port is not None:
        metrics.serve(metrics_port)
    return TrainingRun(resumed, config.draft, config.samples, config.weights, target, source, paths, metrics)
