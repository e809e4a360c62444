"""What another client set on an object of the resource, so that what is desired never comes: named, not fought."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aurora_operator.reconcile.snapshot import Snapshot

_GRACE = timedelta(seconds=60)
"""After which an object that is being deleted should be gone."""
_OWN = ("kubernetes.io/", "batch.kubernetes.io/")


def paused(snapshot: Snapshot) -> str:
    """That the engines' Deployment is paused while a change waits for its pods; empty where none waits."""
    name = snapshot.resource.engine
    found = snapshot.children.get(("apps/v1", "Deployment", name)) or {}
    spec, status = found.get("spec") or {}, found.get("status") or {}
    if not spec.get("paused") or int(status.get("updatedReplicas") or 0) >= int(spec.get("replicas") or 0):
        return ""
    return f"deployment {name} is paused, and a change waits for its pods: kubectl rollout resume deployment/{name}"


def _foreign(finalizer: str) -> bool:
    """Whether it is none of Kubernetes' own, which end by themselves."""
    return "/" in finalizer and not finalizer.startswith(_OWN)


def _held(body: Mapping[str, Any], now: datetime) -> str:
    metadata = body["metadata"]
    since = metadata.get("deletionTimestamp")
    finalizers = [one for one in metadata.get("finalizers") or () if _foreign(one)]
    if since is None or not finalizers or now - datetime.fromisoformat(since) < _GRACE:
        return ""
    return (
        f"{body['kind']} {metadata['name']} is being deleted, and finalizers of another client hold it "
        f"({', '.join(sorted(finalizers)[:3])}): no new one can be made until that client removes them"
    )


def held(snapshot: Snapshot) -> str:
    """Which object cannot be made again because its deletion does not end; empty where there is none."""
    return next((found for body in snapshot.children.values() if (found := _held(body, snapshot.now))), "")
