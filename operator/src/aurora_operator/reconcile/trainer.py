"""The condition TrainingHealthy: whether all of the trainer's pods run, and why they do not."""

from collections.abc import Mapping
from typing import Any

from aurora_core.protocol.trainer import LOST_RANK

from aurora_operator.reconcile import ray
from aurora_operator.reconcile.drift import owned
from aurora_operator.reconcile.pods import is_ready, outlived, podless, trouble
from aurora_operator.reconcile.readiness import Seen
from aurora_operator.reconcile.snapshot import Snapshot, succeeded
from aurora_operator.render.identity import COMPONENT
from aurora_operator.render.training import QUEUE

_HERE = "kubernetes.io/job-controller"
"""Value of a Job's managedBy where it is Kubernetes' own controller."""

_SLOWED = 0.5
"""Share of the sample rate below which the message says so."""


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
        return f"job {name} is suspended by another client, which has to resume it"
    return f"job {name} waits in queue {queue}: kubectl describe workloads in its namespace shows why"


def _queued(snapshot: Snapshot) -> Seen | None:
    waiting = held(snapshot, snapshot.resource.trainer)
    return Seen("False", "Queued", waiting) if waiting else None


def _elsewhere(snapshot: Snapshot) -> Seen | None:
    """What a controller of another cluster reports of the trainer's Job; None where its pods are here."""
    name, nodes = snapshot.resource.trainer, snapshot.spec.training.nodes
    job = snapshot.children.get(("batch/v1", "Job", name)) or {}
    manager = (job.get("spec") or {}).get("managedBy") or _HERE
    if manager == _HERE:
        return None
    ready = int((job.get("status") or {}).get("ready") or 0)
    message = f"{ready} of {nodes} pods of job {name}, which {manager} manages, are ready"
    return Seen("True", "Running", message) if ready >= nodes else Seen("Unknown", "TrainerStarting", message)


def _of_ray(snapshot: Snapshot) -> Seen | None:
    """Why there can be no trainer without a head; None where there is one."""
    head = ray.ready(snapshot)
    return None if head.status == "True" else Seen("Unknown", head.reason, head.message)


def _why_not(snapshot: Snapshot, pods: tuple[Mapping[str, Any], ...]) -> str:
    """The trouble of the first pod that has its own: the others end because that one did."""
    own = tuple(pod for pod in pods if LOST_RANK not in trouble((pod,)))
    name, nodes = snapshot.resource.trainer, snapshot.spec.training.nodes
    return trouble(own) or trouble(pods) or podless(snapshot, name, pods, nodes)


def _lost(snapshot: Snapshot) -> str:
    """Why samples were lost on their way, without their number, which status.training has; empty where none was."""
    reasons = sorted(snapshot.training.lost) if snapshot.training is not None else []
    return f"; samples were lost on their way from engines: {', '.join(reasons)}" if reasons else ""


def _damaged(snapshot: Snapshot) -> str:
    """How much was passed over at the trainer's start, which does not change while it runs; empty where nothing was."""
    count = snapshot.training.damaged if snapshot.training is not None else 0
    if not count:
        return ""
    what = "1 training state or version was" if count == 1 else f"{count} training states or versions were"
    return (
        f"; {what} passed over at its start, damaged or not signed as required: it continued from the next one that is "
        "sound. Expected once after weights.signing was set up; otherwise the volume fails, or another writer used it. "
        "The trainer's log names each"
    )


def _paused(snapshot: Snapshot) -> Seen | None:
    """Which engine pods hand no samples over, and why; None where all do."""
    paused = {pod.name: pod.paused for pod in snapshot.pods if pod.paused}
    if not paused:
        return None
    name, why = next(iter(paused.items()))
    message = (
        f"{len(paused)} of {len(snapshot.pods)} engine pods hand no samples over and try again within a minute; they "
        f"serve as before. {name}: {why}"
    )
    return Seen("False", "SamplingPaused", message)


def _slowed(snapshot: Snapshot) -> str:
    """Whether engines capture clearly less than they should; without numbers, each of which would be a write."""
    slowed = any(pod.share < _SLOWED for pod in snapshot.pods)
    return "; engines capture less than samples.sampleRate: samples are not taken as fast" if slowed else ""


def training(snapshot: Snapshot) -> Seen:
    """Whether training runs, or came to its end."""
    name, nodes = snapshot.resource.trainer, snapshot.spec.training.nodes
    if snapshot.spec.suspend:
        return Seen("False", "Suspended", "spec.suspend is true")
    if succeeded(snapshot.children.get(("batch/v1", "Job", name))):
        steps = snapshot.spec.training.hyperparameters.num_train_steps
        return Seen("True", "Completed", f"training reached hyperparameters.numTrainSteps ({steps})")
    of_others = _of_ray(snapshot) if snapshot.resource.online else _queued(snapshot) or _elsewhere(snapshot)
    if of_others is not None:
        return of_others
    pods = _pods(snapshot)
    well = sum(is_ready(pod) and outlived(pod, snapshot.now) for pod in pods)
    if well >= nodes:
        # Step and loss are in status.training; a message that changes with every step would be a write with every step.
        what = "the trainer is running" if nodes == 1 else f"{nodes} trainer pods are running"
        return _paused(snapshot) or Seen(
            "True", "Running", what + _slowed(snapshot) + _lost(snapshot) + _damaged(snapshot)
        )
    why = _why_not(snapshot, pods)
    if why:
        return Seen("False", "TrainerFailing", why)
    what = "the trainer is not running yet" if nodes == 1 else f"{well} of {nodes} trainer pods are running"
    return Seen("Unknown", "TrainerStarting", what)
