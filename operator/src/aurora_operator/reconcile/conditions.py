"""Conditions: observations in message, each with the time at which it last changed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from aurora_core.printable import listed, printable

from aurora_operator.api.status import Condition
from aurora_operator.promotion.assignment import strategy
from aurora_operator.promotion.progress import Progress
from aurora_operator.reconcile import contest, obstacles, ray, route, speculation, storage, trainer
from aurora_operator.reconcile.pods import condition_of, is_ready, outlived, podless, trouble, unending
from aurora_operator.reconcile.readiness import READY, Seen, Truth, ready
from aurora_operator.reconcile.snapshot import Key, Problem, Snapshot

_MOST_MESSAGE = 800


def _refused(snapshot: Snapshot) -> str:
    """Why engine pods cannot be made."""
    resource = snapshot.resource
    if resource.online:
        return ray.refused(snapshot)
    deployment = snapshot.children.get(("apps/v1", "Deployment", resource.engine))
    return str((condition_of(deployment, "ReplicaFailure") or {}).get("message", ""))


def _failing_replicas(snapshot: Snapshot) -> str:
    """Why fewer engine pods serve than desired, where one of them says why; one that only starts says nothing."""
    present = [pod for pod in snapshot.engine_pods if not pod["metadata"].get("deletionTimestamp")]
    well = [pod for pod in present if is_ready(pod) and outlived(pod, snapshot.now)]
    desired = snapshot.replicas
    if not snapshot.prepared or len(well) >= desired:
        return ""
    troubles = [found for pod in present if pod not in well and (found := trouble((pod,)))]
    refused = _refused(snapshot)
    if not troubles and not refused:
        return ""
    what = f"{len(troubles)} of {desired} engine pods" if troubles else f"a pod of {desired}"
    return f"{what} cannot serve: {troubles[0] if troubles else refused}"


def _preparing(snapshot: Snapshot) -> str:
    """Why the init Job does not get on; empty where it does."""
    name, pods = snapshot.resource.init, snapshot.trainer_pods
    held = trainer.held(snapshot, name)
    return trouble(pods) or held or podless(snapshot, name, pods) or unending(pods)


def _unfit(names: Sequence[str], secret: str) -> str:
    if not names:
        return ""
    return (
        f"serving.adopt.selector matches pods without an agent that has the key of Secret {secret}: "
        f"{listed(names, 3)}; they are ignored: patch their workload (kubectl aurora adopt), or narrow the "
        "selector"
    )


def _nothing_adopted(snapshot: Snapshot) -> str:
    labels = ",".join(f"{name}={value}" for name, value in (snapshot.resource.adopted or {}).items())
    found = _unfit(snapshot.unfit, snapshot.resource.secret)
    return found or f"serving.adopt.selector matches no pod of this namespace: none has the labels {labels}"


def _available(snapshot: Snapshot) -> Seen:
    ready, desired = sum(map(is_ready, snapshot.engine_pods)), snapshot.replicas
    if ready:
        word = "AllReady" if ready >= desired else "SomeReady"
        return Seen("True", word, f"{ready} of {desired} engine pods are ready")
    resource = snapshot.resource
    if snapshot.lost:
        return Seen("False", "Preparing", f"claim {resource.claim} was emptied or replaced and is prepared again")
    if not snapshot.prepared:
        why = _preparing(snapshot)
        return Seen("False", "Preparing", why or "the target is being fetched and version 0 published")
    if resource.online:
        head = ray.ready(snapshot)
        if head.status != "True":
            return Seen("False", head.reason, head.message)
    if resource.adopted is not None and not snapshot.engine_pods:
        return Seen("False", "NothingAdopted", _nothing_adopted(snapshot))
    why = trouble(snapshot.engine_pods) or _refused(snapshot)
    return Seen("False", "EngineFailing" if why else "EngineStarting", why or "no engine pod is ready yet")


def _ignored(paths: Sequence[str]) -> str:
    if not paths:
        return ""
    return (
        f"this version of the operator does not know {listed(paths, 5)} and ignores it: upgrade the operator to the "
        "version of its CustomResourceDefinition, or remove the fields"
    )


def _first(problems: Mapping[str, str]) -> str:
    """The problem of the first pod that has one."""
    return next((f"{name}: {problem}" for name, problem in problems.items() if problem), "")


def _strange(names: Sequence[str]) -> str:
    if not names:
        return ""
    return (
        f"pods with this resource's labels that it did not make: {listed(names, 3)}; what they report counts for "
        "nothing, but its Service may send them requests: find out who made them, and delete them"
    )


def _together(problems: Sequence[Problem]) -> str:
    """Each problem, as far as the message has room."""
    messages = list(dict.fromkeys(one.message for one in problems))
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    room = _MOST_MESSAGE // len(messages)
    return (
        printable(messages[0], room if more else _MOST_MESSAGE)
        + more
        + "".join(f"; {printable(one, room)}" for one in messages[1:])
    )


def _degraded(snapshot: Snapshot, taken: Collection[Key], unheeded: str) -> Seen:
    if taken:
        _, kind, name = min(taken)
        message = f"{kind} {snapshot.resource.namespace}/{name} already exists and is not owned by this resource"
        return Seen("True", "NameTaken", f"{message}: delete it, or rename the resource")
    if snapshot.problems:
        return Seen("True", snapshot.problems[0].reason, _together(snapshot.problems))
    if snapshot.credential_problem:
        return Seen("True", "CredentialRefused", snapshot.credential_problem)
    stable, pods = snapshot.status.stable, snapshot.pods
    refused = {pod.name: pod.failed.get(stable.version, "") for pod in pods} if stable is not None else {}
    for reason, found in (
        ("ReplicasFailing", _failing_replicas(snapshot)),
        ("RolloutPaused", obstacles.paused(snapshot)),
        ("DeletionHeld", obstacles.held(snapshot)),
        ("AgentSilent", _first({pod.name: pod.problem for pod in pods})),
        ("ServingTargetOnly", _first({pod.name: pod.fallback for pod in pods})),
        ("StableRefused", _first(refused)),
        ("ForeignPods", _strange(snapshot.strangers)),
        ("AgentMissing", _unfit(snapshot.unfit, snapshot.resource.secret)),
        ("FieldContested", contest.message(snapshot.applied, snapshot.resource.namespace, snapshot.now)),
        ("FieldsIgnored", _ignored(snapshot.ignored)),
        ("AnnotationIgnored", unheeded),
    ):
        if found:
            return Seen("True", reason, found)
    return Seen("False", "AsExpected", "")


def all_of(snapshot: Snapshot, progress: Progress, taken: Collection[Key]) -> list[Condition]:
    """All conditions; the time of one that did not change stays. ``taken`` are desired names that others have."""
    promoting: Truth = "True" if progress.candidate is not None else "False"
    message = progress.message
    if strategy(snapshot.spec) == "Immediate":
        message = f"{message} (strategy Immediate: nothing is proved before it goes live)"
    seen = {
        "Available": _available(snapshot),
        "StorageReady": storage.ready(snapshot),
        "TrainingHealthy": trainer.training(snapshot),
        **({ray.CONDITION: ray.ready(snapshot)} if snapshot.resource.online else {}),
        **({route.CONDITION: route.ready(snapshot, progress.candidate)} if route.key(snapshot.resource) else {}),
        "PromotionProgressing": Seen(promoting, progress.reason, message),
        speculation.CONDITION: Seen(*speculation.speculating(snapshot, progress)),
        "Degraded": _degraded(snapshot, taken, progress.unheeded),
    }
    seen = {READY: ready(seen["Available"], seen["StorageReady"], seen["Degraded"]), **seen}
    before = {condition.type: condition for condition in snapshot.status.conditions}
    return [
        Condition(
            type=kind,
            status=one.status,
            reason=one.reason,
            message=printable(one.message, _MOST_MESSAGE),
            last_transition_time=_since(before.get(kind), one.status, snapshot.now),
            observed_generation=snapshot.generation,
        )
        for kind, one in seen.items()
    ]


def _since(before: Condition | None, status: Truth, now: datetime) -> datetime:
    return before.last_transition_time if before is not None and before.status == status else now
