"""A Canary by request: the route that deals requests to two sets of pods, as the condition RouteReady.

Pods become canary pods before requests are dealt to them, and stop being canary pods after no more are. No weight is
given for a pod before its Service has it as an endpoint, which takes the cluster a moment once the pod has its label;
until then a router answers its requests with an error. Which of the canary pods serve the candidate is the coin's
business, as always.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

from aurora_core.printable import listed, printable

from aurora_operator import metrics
from aurora_operator.api.status import Candidate
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.assignment import is_dealt, trial_key
from aurora_operator.promotion.pod_sets import Member, canary_pods, shares
from aurora_operator.reconcile import acceptance, contest
from aurora_operator.reconcile.drift import holders, readable
from aurora_operator.reconcile.pods import is_ready
from aurora_operator.reconcile.readiness import Seen
from aurora_operator.reconcile.snapshot import Key, Routed, Snapshot
from aurora_operator.render.identity import CANARY, POD_SET, STABLE, Resource
from aurora_operator.render.route import KINDS, Split, names_canary_pods, patch, splits

log = logging.getLogger(__name__)

CONDITION = "RouteReady"
DRAINED = timedelta(seconds=10)
"""From a weight of 0 until every router is taken to know of it."""
_SETTLES = timedelta(minutes=1)
"""From the begin of a trial, while endpoints that are awaited have the operator reconcile more often."""
_ALONE = (100, 0)
_INSTALL = {
    "HTTPRoute": "install the Gateway API's CRDs (gateway.networking.k8s.io/v1) and a Gateway that implements them",
    "VirtualService": "install Istio 1.22 or newer, which brought networking.istio.io/v1",
}
_MOST_TEXT = 1000
_MOST_NAMES = 4


@dataclass(frozen=True)
class Patch:
    """A change of a route's weights.

    Attributes:
        at: the route.
        operations: JSON patch.
        weights: of stable and canary pods.
        by: who changed the same weights since they were set last; empty where nobody did.
    """

    at: Key
    operations: tuple[Mapping[str, Any], ...]
    weights: tuple[int, int]
    by: str = ""

    @property
    def rendered(self) -> tuple[str, str]:
        """What is remembered of it, to notice another client that undoes it."""
        return f"{self.weights[0]}/{self.weights[1]}", ""


class Dealt(NamedTuple):
    """What is to be done: labels of pods by name, the route's weights, and whether endpoints should come soon."""

    pod_sets: Mapping[str, str] = {}
    change: Patch | None = None
    awaits: bool = False


def key(resource: Resource) -> Key | None:
    """The key of the route that a resource names."""
    route = resource.spec.promotion.canary.route
    return (*KINDS[route.kind], route.name) if route is not None else None


def _live(cluster: Cluster, resource: Resource, at: Key) -> Mapping[str, Any] | tuple[str, str]:
    """The route, or reason and message why it cannot be had."""
    api, kind, name = at
    if not cluster.serves(api, kind):
        return "RouteKindMissing", f"the cluster has no kind {kind} of {api}: {_INSTALL[kind]}"
    try:
        found = cluster.get(api, kind, resource.namespace, name)
    except ClusterError as error:
        return _forbidden(error, "get and patch routes")
    if found is None:
        return (
            "RouteMissing",
            f"there is no {kind} {name} in namespace {resource.namespace}: make it, or correct the name",
        )
    return found


def _forbidden(error: ClusterError, what: str) -> tuple[str, str]:
    """Reason and message of a right that is missing; any other error is raised again."""
    if error.status != 403:  # noqa: PLR2004 (HTTP's own)
        raise error
    return "RouteForbidden", f"{error}: set routes.enabled of this operator's chart, which gives it the right to {what}"


def observed(cluster: Cluster, resource: Resource) -> Routed | None:
    """The route of a resource, which may come later than the operator, as may its kind; None where none is named.

    Raises:
        ClusterError: the API server does not answer.
    """
    route, at = resource.spec.promotion.canary.route, key(resource)
    if route is None or at is None:
        return None
    live = _live(cluster, resource, at)
    if isinstance(live, tuple):
        return Routed(problem=live)
    found = splits(resource, live)
    what, names = f"{at[1]} {at[2]}", f"{resource.stable_pods} and {resource.canary_pods}"
    if not found:
        rule = f" named {route.rule}" if route.rule else ""
        text = f"{what} has no rule{rule} whose backends are the Services {names} and no others: name them there"
        return Routed(live, problem=("RouteNotOurs", text))
    refused = acceptance.problem(live)
    if refused is not None:
        return Routed(live, found, (refused[0], f"{what}: {refused[1]}"))
    return _with_endpoints(cluster, resource, Routed(live, found))


def _with_endpoints(cluster: Cluster, resource: Resource, routed: Routed) -> Routed:
    """The same, with the pods that the canary pods' Service has as endpoints.

    They are asked for without a canary pod, too: a right that is missing shows before a trial makes some.
    """
    labels = {"kubernetes.io/service-name": resource.canary_pods}
    try:
        slices = cluster.select("discovery.k8s.io/v1", "EndpointSlice", resource.namespace, labels)
    except ClusterError as error:
        return replace(routed, problem=_forbidden(error, "list the endpoints of Services"))
    found = (one for body in slices for one in body.get("endpoints") or ())
    # A condition that is left out is true.
    ready = (one for one in found if (one.get("conditions") or {}).get("ready") is not False)
    return replace(routed, endpoints=frozenset(str((one.get("targetRef") or {}).get("name")) for one in ready))


def _contested(snapshot: Snapshot, at: Key) -> str:
    """Who fights over the route's weights, for people; empty where nobody does."""
    fought = {at: snapshot.applied[at]} if at in snapshot.applied else {}
    return contest.message(fought, snapshot.resource.namespace, snapshot.now)


def _problem(snapshot: Snapshot) -> tuple[str, str] | None:
    """Why no requests can be dealt by the route, reason and message; None where they can, or no route is named."""
    at, routed = key(snapshot.resource), snapshot.route
    if at is None or routed is None or routed.problem is not None:
        return routed.problem if routed is not None else None
    why = _contested(snapshot, at)
    return ("FieldContested", why) if why else None


def held(snapshot: Snapshot) -> str:
    """Why no trial can be dealt now; empty where one can."""
    found = _problem(snapshot)
    return f"{CONDITION} is False ({found[0]}): {found[1]}" if found is not None else ""


def ready(snapshot: Snapshot, candidate: Candidate | None) -> Seen:
    """The condition RouteReady: whether the route deals requests as the operator says, and why not.

    Where it does, the message says which canary pods get none yet, with this candidate on trial.
    """
    at, resource, found = key(snapshot.resource), snapshot.resource, _problem(snapshot)
    refused = (one for one in snapshot.problems if one.about == at and at is not None)
    found = found or next(((one.reason, one.message) for one in refused), None)
    if found is not None:
        return Seen("False", *found)
    if at is None or snapshot.route is None:
        return Seen("Unknown", "RouteUnknown", "the route was not read yet")
    weights = sorted({one.weights for one in snapshot.route.splits})
    dealt = ", or ".join(f"{a} to {resource.stable_pods} and {b} to {resource.canary_pods}" for a, b in weights)
    awaited = sorted(_labelled(snapshot, _chosen(snapshot, candidate)) - snapshot.route.endpoints)
    waits = f"; waits for endpoints of {resource.canary_pods}: pods {listed(awaited, _MOST_NAMES)}" if awaited else ""
    return Seen("True", "RouteDeals", f"{at[1]} {at[2]} deals {dealt}{waits}")


def _members(snapshot: Snapshot) -> list[Member]:
    return [
        Member(pod["metadata"]["name"], is_ready(pod), _set_of(pod) == CANARY)
        for pod in snapshot.engine_pods
        if not pod["metadata"].get("deletionTimestamp")
    ]


def _set_of(pod: Mapping[str, Any]) -> str:
    return str((pod["metadata"].get("labels") or {}).get(POD_SET, ""))


def eligible(snapshot: Snapshot) -> frozenset[str] | None:
    """Names of the pods that may serve the candidate: those that requests are dealt to as canary pods; None for all."""
    if snapshot.route is None:
        return None
    if held(snapshot):
        return frozenset()
    return frozenset(one.name for one in _members(snapshot) if one.canary)


def _chosen(snapshot: Snapshot, candidate: Candidate | None) -> frozenset[str]:
    """Names of the pods that should take turns with this candidate."""
    if candidate is None or not is_dealt(snapshot.spec, candidate, snapshot.now) or held(snapshot):
        return frozenset()
    trial = trial_key(snapshot.resource.uid, candidate)
    return canary_pods(trial, _members(snapshot), snapshot.spec.promotion.canary.replicas)


def _labelled(snapshot: Snapshot, chosen: frozenset[str]) -> frozenset[str]:
    """Those of the chosen that their Service should have as endpoints by now."""
    return frozenset(one.name for one in _members(snapshot) if one.ready and one.canary and one.name in chosen)


def dealt(snapshot: Snapshot, candidate: Candidate | None) -> Dealt:
    """Which pods should be canary pods, and what weights the route should have, with this candidate on trial."""
    if snapshot.route is None:
        return Dealt()
    members, chosen = _members(snapshot), _chosen(snapshot, candidate)
    labelled = _labelled(snapshot, chosen)
    served = labelled & snapshot.route.endpoints
    change = _change(snapshot, shares(snapshot.spec, len(served)))
    if not chosen and _may_get_requests(snapshot):
        chosen = frozenset(one.name for one in members if one.canary)
    labels = {pod["metadata"]["name"]: _set_of(pod) for pod in snapshot.engine_pods}
    desired = {one.name: CANARY if one.name in chosen else STABLE for one in members}
    soon = labelled != served and candidate is not None and snapshot.now - candidate.since < _SETTLES
    return Dealt({name: pods for name, pods in desired.items() if labels[name] != pods}, change, soon)


def _may_get_requests(snapshot: Snapshot) -> bool:
    """Whether some router may still deal requests to the Service of the canary pods."""
    at, routed = key(snapshot.resource), snapshot.route
    if at is None or routed is None:
        return False
    if routed.live is None and routed.problem is not None and routed.problem[0] == "RouteForbidden":
        # It may deal requests unseen.
        return True
    if routed.live is not None and not routed.splits:
        return names_canary_pods(snapshot.resource, routed.live)
    last = snapshot.applied.get(at)
    lately = last is not None and snapshot.now - last.at < DRAINED
    return lately or any(one.weights[1] for one in routed.splits)


def _change(snapshot: Snapshot, weights: tuple[int, int]) -> Patch | None:
    """The patch that gives a route these weights, where it has others and may be changed now."""
    at, routed = key(snapshot.resource), snapshot.route
    if at is None or routed is None or routed.live is None or _contested(snapshot, at):
        return None
    other = (one for one in routed.splits if one.weights != weights)
    made, last = _patch(at, other, weights), snapshot.applied.get(at)
    if made is None or last is None or last.rendered != made.rendered:
        return made
    # What was set is no longer there.
    rules = ("f:spec", "f:rules" if at[1] == "HTTPRoute" else "f:http")
    others = " and ".join(holders(routed.live, rules)) or "another client"
    return replace(made, by=f"{others} sets weights of {readable(rules)}")


def _patch(at: Key, found: Iterable[Split], weights: tuple[int, int]) -> Patch | None:
    operations = tuple(patch(found, weights))
    return Patch(at, operations, weights) if operations else None


def carried_out(cluster: Cluster, namespace: str, change: Patch) -> None:
    """Set the weights.

    Raises:
        ClusterError: they were not taken, also where the rule changed meanwhile.
    """
    api, kind, name = change.at
    cluster.patch(api, kind, namespace, name, change.operations)


def release(cluster: Cluster, resource: Resource) -> None:
    """Give stable all requests again, by the route of a resource that is gone, or that names another one now."""
    at = key(resource)
    if at is None:
        return
    try:
        live = cluster.get(*at[:2], resource.namespace, at[2])
        # Whatever was read: another client may have set weights since.
        made = _patch(at, splits(resource, live), _ALONE) if live is not None else None
        if made is not None:
            carried_out(cluster, resource.namespace, made)
    except ClusterError as error:
        metrics.failures.labels(resource.full_name, "route").inc()
        log.warning("%s: %s", resource.full_name, printable(str(error), _MOST_TEXT))
