"""The condition TrainingHealthy: whether all of the trainer's pods run, and why they do not."""

from collections.abc import Mapping
from typing import Any

from aurora_core.protocol.trainer import LOST_RANK

from aurora_operator.reconcile.drift import owned
from aurora_operator.reconcile.pods import is_ready, outlived, podless, trouble
from aurora_operator.reconcile.readiness import Seen
from aurora_operator.reconcile.snapshot import Snapshot, succeeded
from aurora_operator.render.identity import COMPONENT
from aurora_operator.render.training import QUEUE


def _pods(snapshot: Snapshot) -> tuple[Mapping[str, Any], ...]:
    return tuple(pod for pod in snapshot.trainer_pods if pod["metadata"]["labels"].get(COMPONENT) != "init")


def ready_pods(snapshot: Snapshot) -> int:
    """How many of the trainer's pods are ready."""
    return sum(map(is_ready, _pods(snapshot)))


def held(snapshot: Snapshot, name: str) -> str:
    """Who keeps a Job suspended, where it is not this operator; empty where nobody does."""
    job = snapshot.children.get(("batch/v1", "Job", name)) or {}
    if not (job.get("spec") or {}).get("suspend") or "f:suspend" in owned(job).get("f:spec", {}):
        return ""
    queue = (job["metadata"].get("labels") or {}).get(QUEUE)
    if queue is None:
        return f"job {name} is suspended by another client, which has to let it run"
    return f"job {name} waits in queue {queue}: kubectl describe workloads in its namespace says for what"


def _why_not(snapshot: Snapshot, pods: tuple[Mapping[str, Any], ...]) -> str:
    """The trouble of the first pod that has its own: the others end because that one did."""
    own = tuple(pod for pod in pods if LOST_RANK not in trouble((pod,)))
    name, nodes = snapshot.resource.trainer, snapshot.spec.training.nodes
    return trouble(own) or trouble(pods) or podless(snapshot, name, pods, nodes)


def training(snapshot: Snapshot) -> Seen:
    """Whether training runs, or came to its end."""
    name, nodes = snapshot.resource.trainer, snapshot.spec.training.nodes
    if snapshot.spec.suspend:
        return Seen("False", "Suspended", "spec.suspend is true")
    if succeeded(snapshot.children.get(("batch/v1", "Job", name))):
        steps = snapshot.spec.training.hyperparameters.num_train_steps
        return Seen("True", "Completed", f"training reached hyperparameters.numTrainSteps ({steps})")
    waiting = held(snapshot, name)
    if waiting:
        return Seen("False", "Queued", waiting)
    pods = _pods(snapshot)
    well = sum(is_ready(pod) and outlived(pod, snapshot.now) for pod in pods)
    if well >= nodes:
        # Step and loss are in status.training; a message that changes with every step would be a write with every step.
        return Seen("True", "Running", "the trainer is running" if nodes == 1 else f"{nodes} trainer pods are running")
    why = _why_not(snapshot, pods)
    if why:
        return Seen("False", "TrainerFailing", why)
    what = "the trainer does not run yet" if nodes == 1 else f"{well} of {nodes} trainer pods run"
    return Seen("Unknown", "TrainerStarting", what)
