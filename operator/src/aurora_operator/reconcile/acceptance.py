"""What Gateways say of an HTTPRoute: whether they deal requests by it, and whether they find its backends."""

from collections.abc import Iterator, Mapping
from typing import Any

_UNRESOLVED = {"BackendNotFound", "InvalidKind", "RefNotPermitted", "UnsupportedProtocol"}
"""The Gateway API's reasons why a backend gets no request; its share is answered with an error. A Service without
a pod, as the canary pods' is outside of trials, is none of them."""


def _parent(given: object, namespace: str) -> tuple[str, str, str, str]:
    """Group, kind, namespace and name of what a reference names."""
    ref = given if isinstance(given, Mapping) else {}
    group, kind = ref.get("group", "gateway.networking.k8s.io"), ref.get("kind", "Gateway")
    return group, kind, ref.get("namespace") or namespace, ref.get("name", "")


def _conditions(live: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    """What the parents say that a route names now; what others reported may be in its status for ever."""
    namespace = live["metadata"].get("namespace", "")
    named = [_parent(one, namespace) for one in (live.get("spec") or {}).get("parentRefs") or ()]
    for parent in (live.get("status") or {}).get("parents") or ():
        if _parent(parent.get("parentRef"), namespace) in named:
            yield from (one for one in parent.get("conditions") or () if one.get("type") == kind)


def problem(live: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a route that is there deals no requests as it should, reason and message; None where it does.

    A VirtualService does not say so.
    """
    if live["kind"] != "HTTPRoute":
        return None
    accepted = list(_conditions(live, "Accepted"))
    if not any(one.get("status") == "True" for one in accepted):
        why = next((f"{one.get('reason')}: {one.get('message')}" for one in accepted), "no Gateway has accepted it")
        return "RouteNotAccepted", why
    for one in _conditions(live, "ResolvedRefs"):
        if one.get("status") == "False" and one.get("reason") in _UNRESOLVED:
            # A Gateway has one such condition for all rules together.
            why = f"{one.get('reason')}: {one.get('message')}"
            return "RouteNotResolved", f"a backend, of any rule of this route, is not resolved: {why}"
    return None
