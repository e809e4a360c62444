"""The condition of a resource that cannot be reconciled at all, shown on the resource itself, whatever is wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aurora_core.printable import printable

from aurora_operator.clients.cluster import Cluster
from aurora_operator.reconcile.readiness import READY

_MOST = 800
_KINDS = {READY: "False", "Degraded": "True"}


def degraded(body: Mapping[str, Any], reason: str, message: str, now: datetime) -> list[dict[str, Any]] | None:
    """The resource's conditions with Degraded set to True and Ready to False, or None where they say so already.

    Args:
        body: the resource as the API server has it; nothing of its spec or status is taken for granted.
        reason: one CamelCase identifier.
        message: what is wrong, where, and what to do; cut to 800 characters.
        now: the time of the transition, where it is one.
    """
    status = body.get("status")
    found = status.get("conditions") if isinstance(status, Mapping) else None
    conditions = [dict(one) for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    message = printable(message, _MOST)
    new = [_condition(conditions, kind, status, reason, message, now) for kind, status in _KINDS.items()]
    if all(one in conditions for one in new):
        return None
    generation = body["metadata"].get("generation", 0)
    return [
        *(one for one in conditions if one.get("type") not in (*_KINDS,)),
        *(one | {"observedGeneration": generation} for one in new),
    ]


def _condition(
    conditions: list[dict[str, Any]], kind: str, status: str, reason: str, message: str, now: datetime
) -> dict[str, Any]:
    """A condition as it is, where it says the same already, or as it should be."""
    before = next((one for one in conditions if one.get("type") == kind), {})
    if (before.get("status"), before.get("reason"), before.get("message")) == (status, reason, message):
        return before
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def report(cluster: Cluster, body: Mapping[str, Any], reason: str, message: str) -> None:
    """Write it.

    Raises:
        ClusterError: the API server does not take it.
    """
    conditions = degraded(body, reason, message, datetime.now(UTC))
    if conditions is not None:
        metadata = body["metadata"]
        status = {"conditions": conditions}
        cluster.write_status(metadata["namespace"], metadata["name"], status, metadata["resourceVersion"])
