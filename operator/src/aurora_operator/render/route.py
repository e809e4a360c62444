"""Of a route that people wrote, the two weights that the operator sets: where they are, and the patch that sets them.

Lists of rules and of backends are atomic to server-side apply: who applies a weight has all rules. So the change is a
JSON patch, which names each weight by its place, and fails where that place is no longer the same Service's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aurora_operator.render.identity import Resource

KINDS: Mapping[str, tuple[str, str]] = {
    "HTTPRoute": ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    "VirtualService": ("networking.istio.io/v1", "VirtualService"),
}
"""apiVersion and kind of what promotion.canary.route can name."""


class Backend(NamedTuple):
    """One of a rule's backends.

    Attributes:
        at: JSON pointer of it.
        field: of the name by which it is tested that it is still the same, from there.
        written: what that field has.
        service: the Service of the route's namespace that it names; empty where it names something else.
        weight: that it has now.
    """

    at: str
    field: str
    written: str
    service: str
    weight: int


@dataclass(frozen=True)
class Split:
    """A rule that deals requests to the two Services."""

    stable: Backend
    canary: Backend

    @property
    def weights(self) -> tuple[int, int]:
        """Of stable and canary pods."""
        return self.stable.weight, self.canary.weight


def _objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; none where it is no list of objects alone."""
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        return list(value)
    return []


def _of_gateway(backend: Mapping[str, Any], namespace: str, at: str) -> Backend:
    """A backendRef."""
    name, weight = str(backend.get("name")), backend.get("weight", 1)
    ours = (
        backend.get("group") in {None, ""}
        and backend.get("kind") in {None, "Service"}
        and backend.get("namespace") in {None, namespace}
    )
    return Backend(at, "name", name, name if ours else "", weight if isinstance(weight, int) else -1)


def _of_istio(backend: Mapping[str, Any], namespace: str, at: str) -> Backend:
    """An HTTPRouteDestination; its host is NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc or the full domain name."""
    found, weight = backend.get("destination"), backend.get("weight", 0)
    destination = found if isinstance(found, Mapping) else {}
    host = str(destination.get("host"))
    name, *rest = host.split(".")
    ours = rest[:2] in ([], [namespace], [namespace, "svc"]) and not destination.get("subset")
    return Backend(at, "destination/host", host, name if ours else "", weight if isinstance(weight, int) else -1)


def _rules(live: Mapping[str, Any]) -> Iterator[tuple[object, list[Backend]]]:
    """Name and backends of each rule."""
    namespace, spec = str(live["metadata"].get("namespace", "")), live.get("spec")
    rules, backends, read = ("rules", "backendRefs", _of_gateway)
    if live["kind"] != "HTTPRoute":
        rules, backends, read = ("http", "route", _of_istio)
    for i, rule in enumerate(_objects((spec if isinstance(spec, Mapping) else {}).get(rules))):
        found = _objects(rule.get(backends))
        yield (
            rule.get("name"),
            [read(one, namespace, f"/spec/{rules}/{i}/{backends}/{j}") for j, one in enumerate(found)],
        )


def splits(resource: Resource, live: Mapping[str, Any]) -> tuple[Split, ...]:
    """The rules of a route whose backends are the two Services of a resource, each once, and no others."""
    route = resource.spec.promotion.canary.route
    ours = (resource.stable_pods, resource.canary_pods)
    found = []
    for name, backends in _rules(live):
        by_service = {one.service: one for one in backends}
        desired = route is None or route.rule in {None, name}
        if desired and len(backends) == len(ours) and by_service.keys() == set(ours):
            found.append(Split(*(by_service[service] for service in ours)))
    return tuple(found)


def names_canary_pods(resource: Resource, live: Mapping[str, Any]) -> bool:
    """Whether any rule of a route may send requests to the Service of the canary pods."""
    return any(one.service == resource.canary_pods and one.weight for _, backends in _rules(live) for one in backends)


def patch(found: Iterable[Split], weights: tuple[int, int]) -> list[dict[str, Any]]:
    """The JSON patch that sets the weights of these rules, stable's first, where their backends are still the same."""
    return [
        operation
        for one in found
        for backend, weight in zip((one.stable, one.canary), weights, strict=True)
        for operation in (
            {"op": "test", "path": f"{backend.at}/{backend.field}", "value": backend.written},
            {"op": "add", "path": f"{backend.at}/weight", "value": weight},
        )
    ]
