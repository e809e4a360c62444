"""Jobs and Ray clusters: their pods' templates cannot change while they run, and a queue may suspend and place them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aurora_operator.reconcile.drift import rendered
from aurora_operator.reconcile.pods import condition_of
from aurora_operator.reconcile.snapshot import Key, Snapshot, key, succeeded
from aurora_operator.render import ray
from aurora_operator.render.ray import KIND

_GIVEN_UP = timedelta(seconds=60)
"""After which another Job is made, so that one that fails at once is not made all the time."""


def rendered_as(snapshot: Snapshot, at: Key, live: Mapping[str, Any]) -> tuple[str, str]:
    """Hashes of what a live object was rendered as; as they are remembered, where a webhook took its annotations."""
    found = rendered(live)
    known = snapshot.applied.get(at)
    return known.rendered if known is not None and not found[0] else found


def _pods_that_ended(job: Mapping[str, Any]) -> int:
    return int((job.get("status") or {}).get("succeeded") or 0)


def _given_up(snapshot: Snapshot, job: Mapping[str, Any]) -> bool:
    """Whether its controller gave a Job up, for a deadline or a rule that another client set, and a while ago."""
    since = (condition_of(job, "Failed") or {}).get("lastTransitionTime")
    try:
        return since is not None and snapshot.now - datetime.fromisoformat(str(since)) > _GIVEN_UP
    except (ValueError, TypeError):
        return False


def to_replace(snapshot: Snapshot, desired: list[dict[str, Any]]) -> set[Key]:
    """A Job's pod template cannot be changed: where it must, the Job is recreated.

    What the init Job fetched stays, as long as its volume does. A trainer that ended resumes where it was asked for
    more; without ``numTrainSteps`` it has no end, so one that came to an end was ended by someone else. One that was
    given up is made again; one that leaves its queue goes.
    """
    out = set()
    endless = snapshot.spec.training.hyperparameters.num_train_steps is None
    for body in desired:
        live = snapshot.children.get(key(body))
        if body["kind"] not in {"Job", KIND} or live is None or live["metadata"].get("deletionTimestamp"):
            continue
        if succeeded(live) and body["metadata"]["name"] == snapshot.resource.init:
            if snapshot.lost:
                out.add(key(body))
            continue
        template, _ = rendered_as(snapshot, key(body), live)
        # One without its hash is applied, which gives it one, as long as its template is the same.
        ended = endless and body["kind"] == "Job" and _pods_that_ended(live)
        if (template and template != rendered(body)[0]) or ended or _given_up(snapshot, live):
            out.add(key(body))
    if leaves_queue(snapshot):
        at = ("batch/v1", "Job", snapshot.resource.trainer)
        live = snapshot.children.get(at)
        if live is not None and not live["metadata"].get("deletionTimestamp"):
            out.add(at)
    return out


def leaves_queue(snapshot: Snapshot) -> bool:
    """Whether training is suspended and a queue says who runs: only a new Job would get its turn there again."""
    return snapshot.spec.suspend and snapshot.spec.training.queue_name is not None


def with_its_template(snapshot: Snapshot, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is applied of an object: of a Job that is as it was rendered, the pods' template that it has.

    A queue changes it before it starts the Job (where pods may run); to put that back would be refused from then on.
    """
    live = snapshot.children.get(key(body))
    if (
        body["kind"] not in {"Job", KIND}
        or live is None
        or rendered_as(snapshot, key(body), live)[0] != rendered(body)[0]
    ):
        return body
    if body["kind"] == KIND:
        return ray.placed(body, live)
    template = (live.get("spec") or {}).get("template")
    return {**body, "spec": {**body["spec"], "template": template}} if template else body
