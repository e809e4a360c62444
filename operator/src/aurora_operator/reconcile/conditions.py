"""Conditions: observations in message, each with the time at which it last changed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from aurora_core.printable import printable

from aurora_operator.api.status import Condition
from aurora_operator.promotion.assignment import strategy
from aurora_operator.promotion.progress import Progress
from aurora_operator.reconcile import contest, speculation
from aurora_operator.reconcile.readiness import READY, Seen, Truth, ready
from aurora_operator.reconcile.snapshot import Key, Problem, Snapshot, succeeded
from aurora_operator.render.identity import COMPONENT

FULL = 0.03
"""A volume with a smaller share of its bytes free counts as full."""

RECOVERED = timedelta(seconds=30)
"""A process that finished counts as well again once it has run for this much longer than before its fall."""
_LONGEST_RUN = timedelta(minutes=5)
_POD_OVERDUE = timedelta(seconds=30)
"""A Job makes its pod at once, or is not allowed to."""
_ON_ITS_WAY = {"ContainerCreating", "PodInitializing", "CrashLoopBackOff"}
"""Waiting that says nothing; how a process that crashes ended says more."""

_MOST_MESSAGE = 800


def _true(body: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    """An object's own condition of this kind, where it is True."""
    conditions = ((body or {}).get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if (c["type"], c["status"]) == (kind, "True")), None)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is ready, and not on its way out."""
    return not pod["metadata"].get("deletionTimestamp") and _true(pod, "Ready") is not None


def _trouble(pods: tuple[Mapping[str, Any], ...]) -> str:
    """Why a pod does not run, in the kubelet's and the process's own message."""
    for pod in pods:
        status = pod.get("status", {})
        for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (one.get("state") or {}).get("waiting") or {}
            last = (one.get("lastState") or {}).get("terminated") or {}
            if waiting and waiting.get("reason") not in _ON_ITS_WAY:
                return f"{pod['metadata']['name']}: {waiting.get('reason')}: {waiting.get('message', '')}"
            if last and int(one.get("restartCount") or 0) > 0 and last.get("exitCode"):
                lines = str(last.get("message") or last.get("reason") or "").strip().splitlines()[-6:]
                name = pod["metadata"]["name"]
                return f"{name}/{one['name']} ended with {last['exitCode']}: " + " | ".join(lines)
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return f"{pod['metadata']['name']} cannot be scheduled: {condition.get('message', '')}"
    # What the kubelet turned away or put out stays for a while; another pod's trouble is newer.
    for pod in reversed(pods):
        status = pod.get("status", {})
        if status.get("phase") == "Failed" and status.get("reason"):
            return f"{pod['metadata']['name']}: {status['reason']}: {status.get('message', '')}"
    return ""


def _podless(snapshot: Snapshot, name: str, pods: tuple[Mapping[str, Any], ...]) -> str:
    """What a Job without a pod means: a quota, a policy or an admission webhook, which only its Events show."""
    job = snapshot.children.get(("batch/v1", "Job", name))
    started = ((job or {}).get("status") or {}).get("startTime")
    # One that was suspended until now is about to restart.
    if pods or started is None or _true(job, "Suspended"):
        return ""
    if snapshot.now - datetime.fromisoformat(started) < _POD_OVERDUE:
        return ""
    return f"job {name} cannot make its pod: kubectl describe job {name} says why"


def _refused(deployment: Mapping[str, Any] | None) -> str:
    """Why a Deployment's pods cannot be made."""
    return str((_true(deployment, "ReplicaFailure") or {}).get("message", ""))


def _outlived(pod: Mapping[str, Any], now: datetime) -> bool:
    """Whether each process of a pod has outlived its last run, so that a crash loop stays reported."""
    for one in pod.get("status", {}).get("containerStatuses") or ():
        running = (one.get("state") or {}).get("running")
        terminated = (one.get("lastState") or {}).get("terminated") or {}
        if running is None:
            return False
        if not terminated.get("exitCode"):
            continue
        since = datetime.fromisoformat(running["startedAt"])
        # The kubelet has no times of a process that it lost sight of.
        finished = datetime.fromisoformat(terminated.get("finishedAt") or running["startedAt"])
        began = datetime.fromisoformat(terminated.get("startedAt") or running["startedAt"])
        if now - since < min(finished - began, _LONGEST_RUN) + RECOVERED:
            return False
    return True


def _failing_replicas(snapshot: Snapshot) -> str:
    """Why fewer engine pods serve than desired, where one of them says why; one that only starts says nothing."""
    present = [pod for pod in snapshot.engine_pods if not pod["metadata"].get("deletionTimestamp")]
    well = [pod for pod in present if is_ready(pod) and _outlived(pod, snapshot.now)]
    desired = snapshot.spec.serving.replicas
    if not snapshot.prepared or len(well) >= desired:
        return ""
    troubles = [found for pod in present if pod not in well and (found := _trouble((pod,)))]
    refused = _refused(snapshot.children.get(("apps/v1", "Deployment", snapshot.resource.engine)))
    if not troubles and not refused:
        return ""
    what = f"{len(troubles)} of {desired} engine pods" if troubles else f"a pod of {desired}"
    return f"{what} cannot serve: {troubles[0] if troubles else refused}"


def _available(snapshot: Snapshot) -> Seen:
    ready, desired = sum(map(is_ready, snapshot.engine_pods)), snapshot.spec.serving.replicas
    if ready:
        word = "AllReady" if ready >= desired else "SomeReady"
        return Seen("True", word, f"{ready} of {desired} engine pods are ready")
    resource = snapshot.resource
    if snapshot.lost:
        return Seen("False", "Preparing", f"claim {resource.claim} was emptied or replaced and is prepared again")
    if not snapshot.prepared:
        trouble = _trouble(snapshot.trainer_pods) or _podless(snapshot, resource.init, snapshot.trainer_pods)
        return Seen("False", "Preparing", trouble or "the target is being fetched and version 0 published")
    trouble = _trouble(snapshot.engine_pods) or _refused(
        snapshot.children.get(("apps/v1", "Deployment", resource.engine))
    )
    return Seen("False", "EngineFailing" if trouble else "EngineStarting", trouble or "no engine pod is ready yet")


def _training(snapshot: Snapshot) -> Seen:
    if snapshot.spec.suspend:
        return Seen("False", "Suspended", "spec.suspend is true")
    if succeeded(snapshot.children.get(("batch/v1", "Job", snapshot.resource.trainer))):
        steps = snapshot.spec.training.hyperparameters.num_train_steps
        return Seen("True", "Completed", f"training reached hyperparameters.numTrainSteps ({steps})")
    pods = tuple(p for p in snapshot.trainer_pods if p["metadata"]["labels"].get(COMPONENT) != "init")
    running = any(is_ready(pod) and _outlived(pod, snapshot.now) for pod in pods)
    trouble = _trouble(pods) or _podless(snapshot, snapshot.resource.trainer, pods)
    if trouble and not running:
        return Seen("False", "TrainerFailing", trouble)
    if not running:
        return Seen("Unknown", "TrainerStarting", "the trainer does not run yet")
    # Step and loss are in status.training; message that change with every step would be a write with every step.
    return Seen("True", "Running", "the trainer is running")


def _unbound(snapshot: Snapshot) -> Seen | None:
    """Why the claim is no volume that engines and trainer can share, if it is none."""
    name = snapshot.resource.claim
    claim = snapshot.children.get(("v1", "PersistentVolumeClaim", name))
    if claim is None:
        if snapshot.spec.weights.claim_name is None:
            return Seen("Unknown", "ClaimNew", f"claim {name} is being made")
        return Seen("False", "ClaimMissing", f"there is no claim {name}: make it, or have weights.template make one")
    if claim["metadata"].get("deletionTimestamp"):
        message = (
            f"claim {name} is being deleted: it goes, with all drafts, as soon as no pod uses it; copy what you need"
        )
        return Seen("False", "ClaimDeleted", message)
    if "ReadWriteOncePod" in claim["spec"]["accessModes"]:
        return Seen("False", "ClaimExclusive", f"claim {name} is ReadWriteOncePod, but engines and trainer share it")
    phase = (claim.get("status") or {}).get("phase") or "Pending"
    if phase != "Bound":
        return Seen("False", f"Claim{phase}", f"claim {name} has no volume: kubectl describe pvc {name} says why")
    return None


def _replaced(snapshot: Snapshot) -> Seen | None:
    """Where the volume is another one than that of the stable version, or was emptied."""
    stable, versions = snapshot.status.stable, snapshot.versions
    if stable is None or versions is None:
        return None
    found = next((one for one in versions if one.version == stable.version), None)
    what = f"version {stable.version}, which is stable,"
    undo = "restore the volume, or delete and apply the resource to start from what is on it"
    if found is None:
        return Seen("False", "StableMissing", f"claim {snapshot.resource.claim} has no {what} any more: {undo}")
    if stable.digest and found.digest and stable.digest != found.digest:
        message = f"{what} is another one on claim {snapshot.resource.claim} than was promoted: {undo}"
        return Seen("False", "VolumeReplaced", message)
    return None


def _storage(snapshot: Snapshot) -> Seen:
    unbound = _unbound(snapshot)
    if unbound is not None:
        return unbound
    name = snapshot.resource.claim
    failing = [f"{pod.name}: {pod.volume_problem}" for pod in snapshot.pods if pod.volume_problem]
    if failing:
        return Seen("False", "VolumeFailing", f"{failing[0]}; live drafts keep serving; no new version can be loaded")
    replaced = _replaced(snapshot)
    if replaced is not None:
        return replaced
    if any(pod.volume and pod.volume.free < FULL * pod.volume.total for pod in snapshot.pods):
        left = f"less than {FULL:.0%} of claim {name} is free"
        return Seen("False", "VolumeFull", f"{left}: samples are dropped and training can save nothing; grow the claim")
    if snapshot.damaged:
        what, why = min(snapshot.damaged.items())
        return Seen("True", "VersionDamaged", f"{what} on claim {name} cannot be used: {why}")
    where = ", for pods of one node" if snapshot.resource.one_node else ""
    return Seen("True", "Bound", f"claim {name} is bound{where}")


def _ignored(paths: Sequence[str]) -> str:
    shown, more = ", ".join(paths[:5]), f" and {len(paths) - 5} more" if len(paths) > 5 else ""  # noqa: PLR2004
    return (
        f"this version of the operator does not know {shown}{more} and ignores it: upgrade the operator to the "
        "version of its CustomResourceDefinition, or remove the fields"
    )


def _first(problems: Mapping[str, str]) -> str:
    """The problem of the first pod that has one."""
    return next((f"{name}: {problem}" for name, problem in problems.items() if problem), "")


def _strange(names: Sequence[str]) -> str:
    if not names:
        return ""
    shown, more = ", ".join(names[:3]), f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004
    return (
        f"pods with this resource's labels that it did not make: {shown}{more}; what they report counts for nothing, "
        "but its Service may send them requests: find out who made them, and delete them"
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


def _degraded(snapshot: Snapshot, taken: Collection[Key]) -> Seen:
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
        ("AgentSilent", _first({pod.name: pod.problem for pod in pods})),
        ("ServingTargetOnly", _first({pod.name: pod.fallback for pod in pods})),
        ("StableRefused", _first(refused)),
        ("ForeignPods", _strange(snapshot.strangers)),
        ("FieldContested", contest.message(snapshot.applied, snapshot.resource.namespace, snapshot.now)),
    ):
        if found:
            return Seen("True", reason, found)
    if snapshot.ignored:
        return Seen("True", "FieldsIgnored", _ignored(snapshot.ignored))
    return Seen("False", "AsExpected", "")


def all_of(snapshot: Snapshot, progress: Progress, taken: Collection[Key]) -> list[Condition]:
    """All conditions; the time of one that did not change stays. ``taken`` are desired names that others have."""
    promoting: Truth = "True" if progress.candidate is not None else "False"
    message = progress.message
    if strategy(snapshot.spec) == "Immediate":
        message = f"{message} (strategy Immediate: nothing is proved before it goes live)"
    seen = {
        "Available": _available(snapshot),
        "StorageReady": _storage(snapshot),
        "TrainingHealthy": _training(snapshot),
        "PromotionProgressing": Seen(promoting, progress.reason, message),
        speculation.CONDITION: Seen(*speculation.speculating(snapshot, progress)),
        "Degraded": _degraded(snapshot, taken),
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
