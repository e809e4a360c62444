"""A resource with a route, the routes that name it, and an API server that has one."""

import copy
from datetime import timedelta

from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.reconcile import route
from aurora_operator.reconcile.plan import plan
from aurora_operator.render.identity import POD_SET, Resource
from operator_support import NOW, a_snapshot, a_spec

TRIED = Candidate(version=2, steps=3, since=NOW - timedelta(minutes=5), metric="AcceptLength")


STABLE = Stable(version=1, steps=3, since=NOW - timedelta(hours=5))


PARENT = {"name": "public"}


def a_status(*conditions, parent=PARENT):
    """An HTTPRoute's, as a Gateway's controller writes it."""
    kinds = ("type", "status", "reason", "message")
    return {
        "parents": [{"parentRef": parent, "conditions": [dict(zip(kinds, one, strict=False)) for one in conditions]}]
    }


ACCEPTED = a_status(("Accepted", "True"), ("ResolvedRefs", "True"))


def a_spec_with(*, replicas=4, canaries=1, **named):
    promotion = {
        "strategy": "Canary",
        "prometheus": {"url": "http://prometheus:9090"},
        "canary": {"replicas": canaries, "route": {"name": "front"} | named},
    }
    return a_spec(serving={"replicas": replicas}, promotion=promotion)


def a_resource(**more):
    return Resource("chat", "ns", "u-1", a_spec_with(**more))


def a_gateway_s(weights=(100, 0), **backend):
    refs = [
        {"name": name, "port": 80, "weight": weight} | backend
        for name, weight in zip(("chat-stable", "chat-canary"), weights, strict=True)
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "front", "namespace": "ns", "resourceVersion": "5"},
        "spec": {
            "parentRefs": [PARENT],
            "rules": [{"backendRefs": [{"name": "other"}]}, {"name": "chat", "backendRefs": refs}],
        },
        "status": ACCEPTED,
    }


def an_istio_s(weights=(100, 0), suffix="", **destination):
    routes = [
        {"destination": {"host": f"{name}{suffix}"} | destination, "weight": weight}
        for name, weight in zip(("chat-canary", "chat-stable"), weights[::-1], strict=True)
    ]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "front", "namespace": "ns", "resourceVersion": "5"},
        "spec": {"hosts": ["chat"], "http": [{"name": "chat", "route": routes}]},
    }


def a_pod(name, pods="stable", *, ready=True):
    labels = {POD_SET: pods} if pods else {}
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def observed(live, spec, pods=(), endpoints=None):
    """``endpoints`` are names of pods; all canary pods where they are left out."""
    served = Served(live, endpoints=canaries(pods) if endpoints is None else endpoints)
    return route.observed(served, Resource("chat", "ns", "u-1", spec))


def planned(live, pods, *, spec=None, tried=TRIED, endpoints=None, **more):
    spec = spec or a_spec_with()
    names = [pod["metadata"]["name"] for pod in pods]
    status = Status(stable=STABLE, candidate=tried, decided=1 if tried else 2)
    snapshot = a_snapshot(
        spec,
        status,
        engine_pods=tuple(pods),
        pods=tuple(Pod(name, "10.0.0.1", 1, 3, 1.0) for name in names),
        versions=(Published(1, None), Published(2, None)),
        route=observed(live, spec, pods, endpoints),
        **more,
    )
    return snapshot, plan(snapshot)


class Served(Cluster):
    """An API server with the kinds of routes, and one route or none."""

    def __init__(self, live=None, *, refuses=0, lacks=False, endpoints=()):
        self._live, self._refuses, self._lacks, self.patches = live, refuses, lacks, []
        self._endpoints = endpoints

    def serves(self, api_version, kind):
        return not self._lacks and (api_version, kind) in route.KINDS.values()

    def get(self, api_version, kind, namespace, name):
        if self._refuses:
            raise ClusterError("cannot get HTTPRoute ns/front", self._refuses)
        return self._live if (kind, name) == ((self._live or {}).get("kind"), "front") else None

    def select(self, api_version, kind, namespace, labels):
        assert (kind, labels) == ("EndpointSlice", {"kubernetes.io/service-name": "chat-canary"})
        if self._endpoints == "forbidden":
            raise ClusterError("cannot list EndpointSlice in ns", 403)
        endpoints = [{"targetRef": {"name": name}, "conditions": {"ready": True}} for name in self._endpoints]
        away = {"targetRef": {"name": "away"}, "conditions": {"ready": False}}
        return [{"endpoints": None}, {"endpoints": [*endpoints, away]}]

    def patch(self, *change):
        if self._refuses:
            raise ClusterError("cannot patch HTTPRoute ns/front", self._refuses)
        self.patches.append(change)


FOUR = ("a", "b", "c", "d")


IDLE = [a_pod(name) for name in FOUR]


def on_trial():
    """Four pods, of which those of the trial are canary pods."""
    _, todo = planned(a_gateway_s(), IDLE)
    return [a_pod(name, todo.dealt.pod_sets.get(name, "stable")) for name in FOUR]


def canaries(pods):
    return {pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"].get(POD_SET) == "canary"}


def applied(live, change):
    """The route after a JSON patch, whose tests hold."""
    live = copy.deepcopy(live)
    for one in change.operations:
        *way, last = one["path"].split("/")[1:]
        here = live
        for step in way:
            here = here[int(step)] if isinstance(here, list) else here[step]
        if one["op"] == "test":
            assert here[last] == one["value"]
        else:
            here[last] = one["value"]
    return live
