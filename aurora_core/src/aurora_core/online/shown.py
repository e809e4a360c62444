"""What `aurora-core online` shows of itself."""

from aurora_core.online.activation import Activation
from aurora_core.online.cluster import Cluster
from aurora_core.online.prompts import Feed
from aurora_core.protocol.trainer import TrainerStatus


def line(cluster: Cluster, training: TrainerStatus, activation: Activation | None, feed: Feed | None) -> str:
    """Where everything is, in one line."""
    reports = cluster.reports()
    up = [found for found in reports.values() if found is not None and found.up]
    lost = sum(sum(found.lost.values()) for found in reports.values() if found is not None)
    parts = [f"{len(up)} of {len(reports)} engines serve"]
    if activation is not None:
        lag = "-" if activation.lag is None else f"{activation.lag:.1f} s"
        parts.append(f"version {activation.desired.version}, {activation.desired.steps} draft steps")
        parts.append(f"capture to live {lag}, decoding waited {activation.stall * 1e3:.1f} ms")
    accepted = "-" if training.accept_length is None else f"{training.accept_length:.2f}"
    parts.append(f"trained {training.step} steps on {training.received} samples, holdout accept length {accepted}")
    parts.append(f"{sum(found.waiting for found in up)} samples wait, {lost} lost")
    if training.damaged:
        parts.append(f"{training.damaged} damaged training states or versions were passed over")
    if agents := sum(found.agents for found in reports.values() if found is not None):
        parts.append(f"{agents} agents were started again alone")
    if lacking := [name for name, found in reports.items() if found is not None and found.lacks_agent]:
        parts.append(f"no agent of {', '.join(lacking)} answers: no version goes live until it does")
    if feed is not None:
        parts.append(feed.summary())
    if cluster.restarts:
        parts.append("restarts " + ", ".join(f"{name} {n}" for name, n in cluster.restarts.items()))
    return "; ".join(parts)
