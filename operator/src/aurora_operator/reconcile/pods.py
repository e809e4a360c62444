"""What pods, and the Deployments and Jobs that make them, say of themselves."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aurora_operator.reconcile.snapshot import Snapshot
from aurora_operator.render.identity import COMPONENT

RECOVERED = timedelta(seconds=30)
"""A process that crashed counts as healthy again once it has run for this much longer than before the crash."""
_LONGEST_RUN = timedelta(minutes=5)
_POD_OVERDUE = timedelta(seconds=30)
"""A Job makes its pod at once, or is not allowed to."""
_ON_ITS_WAY = {"ContainerCreating", "PodInitializing", "CrashLoopBackOff"}
"""Waiting that says nothing; how a process that crashes ended says more."""


def condition_of(body: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    """An object's own condition of this kind, where it is True."""
    conditions = ((body or {}).get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if (c["type"], c["status"]) == (kind, "True")), None)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is ready, and not on its way out."""
    return not pod["metadata"].get("deletionTimestamp") and condition_of(pod, "Ready") is not None


def trouble(pods: tuple[Mapping[str, Any], ...]) -> str:
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


def podless(snapshot: Snapshot, name: str, pods: tuple[Mapping[str, Any], ...], desired: int = 1) -> str:
    """What a Job with too few pods means: a quota, a policy or an admission webhook, which only its Events show."""
    job = snapshot.children.get(("batch/v1", "Job", name))
    failed = condition_of(job, "Failed")
    if failed:
        # Without end as it is, only a deadline or a rule that another client set makes it fail.
        why = ": ".join(str(failed[one]) for one in ("reason", "message") if failed.get(one))
        return f"job {name} failed ({why}): it is recreated after a minute"
    started = ((job or {}).get("status") or {}).get("startTime")
    # One that was suspended until now is about to restart.
    if len(pods) >= desired or started is None or condition_of(job, "Suspended"):
        return ""
    if snapshot.now - datetime.fromisoformat(started) < _POD_OVERDUE:
        return ""
    what = "its pod" if desired == 1 else f"{desired - len(pods)} of its {desired} pods"
    return f"job {name} cannot make {what}: kubectl describe job {name} says why"


def unending(pods: tuple[Mapping[str, Any], ...]) -> str:
    """What keeps a Job's pod from ending though its own container did: a sidecar that was injected."""
    for pod in pods:
        states = {one["name"]: one.get("state") or {} for one in pod.get("status", {}).get("containerStatuses") or ()}
        own = str(((pod["metadata"].get("labels") or {}).get(COMPONENT)) or "")
        ended = (states.pop(own, {}).get("terminated") or {}).get("exitCode") == 0
        others = sorted(name for name, state in states.items() if "running" in state)
        if ended and others:
            return (
                f"{pod['metadata']['name']}: container {own} has ended, but {others[0]} runs on, so that its Job never "
                f"ends: keep {others[0]} out of this pod (annotations of training.podTemplate), or have it injected as "
                "an initContainer with restartPolicy: Always"
            )
    return ""


def outlived(pod: Mapping[str, Any], now: datetime) -> bool:
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
