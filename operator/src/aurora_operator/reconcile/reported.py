"""The status that a snapshot leads to."""

from collections.abc import Collection
from typing import Any

from aurora_operator.api.status import Status
from aurora_operator.api.status_fields import MOST_COUNT
from aurora_operator.promotion.progress import Note, Progress
from aurora_operator.reconcile import conditions, trainer
from aurora_operator.reconcile.pods import is_ready
from aurora_operator.reconcile.snapshot import Key, Snapshot
from aurora_operator.render import serving


def _training(snapshot: Snapshot) -> dict[str, Any]:
    """What the trainer reported last, and how many ranks there are and should be."""
    found, spec = snapshot.training, snapshot.spec.training
    progress = (
        snapshot.status.training.model_dump()
        if found is None
        else {
            "step": found.step,
            "tokens": found.tokens,
            "loss": None if found.loss is None else round(found.loss, 4),
            "samples": found.samples,
            # Each is bounded where it is read, their sum is not.
            "lost": min(sum(found.lost.values()), MOST_COUNT),
            "last_published": found.published,
            "withheld": found.withheld,
            "precision": found.precision,
        }
    )
    return {**progress, "ranks": spec.ranks, "ready": trainer.ready_pods(snapshot) * spec.gpus}


def notes(before: Status, progress: Progress) -> tuple[Note, ...]:
    """An Event of annotations by which nothing happens, once."""
    known = any(one.type == "PromotionProgressing" and progress.unheeded in one.message for one in before.conditions)
    return () if known or not progress.unheeded else (Note("Warning", "AnnotationIgnored", progress.unheeded),)


def status(snapshot: Snapshot, progress: Progress, taken: Collection[Key]) -> Status:
    """The new status; ``taken`` are desired names that others have."""
    resource = snapshot.resource
    ready = sum(is_ready(pod) for pod in snapshot.engine_pods)
    selector = ",".join(f"{k}={v}" for k, v in (resource.adopted or resource.selector(serving.ENGINE)).items())
    return Status.model_validate(
        {
            "observed_generation": snapshot.generation,
            "conditions": conditions.all_of(snapshot, progress, taken),
            "stable": None if progress.provisional else progress.stable,
            "candidate": progress.candidate,
            "serving": {
                "replicas": snapshot.replicas,
                "ready": ready,
                "versions": sorted({pod.live for pod in snapshot.pods if pod.live is not None}),
                "dtypes": sorted({pod.dtype for pod in snapshot.pods if pod.dtype}),
                "selector": selector,
            },
            "training": _training(snapshot),
            "decided": progress.decided,
            "budget": progress.budget,
            "challenged": progress.challenged,
            "forecast": progress.forecast,
            "anchor": progress.anchor,
            "history": progress.history,
        }
    )
