"""A Canary by request: which pods and weights a trial needs, what of a route is changed, and what is reported."""

import copy
from datetime import timedelta

import pytest
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.assignment import assignments, share
from aurora_operator.promotion.pod_sets import Member, canary_pods, shares
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.reconcile import contest, route
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Problem
from aurora_operator.render import serving
from aurora_operator.render.identity import POD_SET, Resource
from aurora_operator.render.route import splits
from hypothesis import given
from hypothesis import strategies as st
from operator_support import IMAGES, NOW, a_snapshot, a_spec, reported

TRIED = Candidate(version=2, steps=3, since=NOW - timedelta(minutes=5), metric="AcceptLength")
STABLE = Stable(version=1, steps=3, since=NOW - timedelta(hours=5))
ACCEPTED = {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}]}]}


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
        "spec": {"rules": [{"backendRefs": [{"name": "other"}]}, {"name": "chat", "backendRefs": refs}]},
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


def observed(live, spec):
    return route.observed(Served(live), Resource("chat", "ns", "u-1", spec))


def planned(live, pods, *, spec=None, tried=TRIED, **more):
    spec = spec or a_spec_with()
    names = [pod["metadata"]["name"] for pod in pods]
    status = Status(stable=STABLE, candidate=tried, decided=1 if tried else 2)
    snapshot = a_snapshot(
        spec,
        status,
        engine_pods=tuple(pods),
        pods=tuple(Pod(name, "10.0.0.1", 1, 3, 1.0) for name in names),
        versions=(Published(1, None), Published(2, None)),
        route=observed(live, spec),
        **more,
    )
    return snapshot, plan(snapshot)


class Served(Cluster):
    """An API server with the kinds of routes, and one route or none."""

    def __init__(self, live=None, *, refuses=0, lacks=False):
        self._live, self._refuses, self._lacks, self.patches = live, refuses, lacks, []

    def serves(self, api_version, kind):
        return not self._lacks and (api_version, kind) in route.KINDS.values()

    def get(self, api_version, kind, namespace, name):
        if self._refuses:
            raise ClusterError("cannot get HTTPRoute ns/front", self._refuses)
        return self._live if (kind, name) == ((self._live or {}).get("kind"), "front") else None

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


def test_a_trial_makes_canary_pods_first_then_deals_to_them_and_only_they_take_turns():
    _, begun = planned(a_gateway_s(), IDLE)
    assert sorted(begun.dealt.pod_sets.values()) == ["canary", "canary"]
    assert begun.dealt.change is None
    assert not begun.loads
    pods = on_trial()
    _, dealt = planned(a_gateway_s(), pods)
    assert dealt.dealt.pod_sets == {}
    assert dealt.dealt.change.weights == (50, 50)
    (load,) = dealt.loads
    assert load.version == 2
    assert load.pod.name in canaries(pods)
    live = applied(a_gateway_s(), dealt.dealt.change)
    assert planned(live, pods)[1].dealt == route.Dealt()
    # Nothing but the two weights is another than before.
    expected = a_gateway_s((50, 50))
    assert live == expected


def test_after_a_trial_no_more_requests_are_dealt_before_the_pods_are_stable_again():
    pods, dealt = on_trial(), a_gateway_s((50, 50))
    _, ended = planned(dealt, pods, tried=None)
    assert ended.dealt.pod_sets == {}
    assert ended.dealt.change.weights == (100, 0)
    at = ended.dealt.change.at
    lately = {at: contest.again(None, ended.dealt.change.rendered, "", NOW - route.DRAINED / 2)}
    assert planned(a_gateway_s(), pods, tried=None, applied=lately)[1].dealt == route.Dealt()
    before = {at: contest.again(None, ended.dealt.change.rendered, "", NOW - 2 * route.DRAINED)}
    _, drained = planned(a_gateway_s(), pods, tried=None, applied=before)
    assert drained.dealt == route.Dealt(dict.fromkeys(canaries(pods), "stable"))


@pytest.mark.parametrize("ready", [0, 1])
def test_canary_pods_that_are_not_ready_get_fewer_requests_and_none_without_any(ready):
    spec = a_spec_with(replicas=4, canaries=1, weight=30)
    assert shares(spec, 2) == (70, 30)
    assert shares(spec, ready) == ((100, 0), (85, 15))[ready]
    assert share(spec) == pytest.approx(0.15)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12),
    st.integers(1, 5),
    st.text("abc", min_size=1, max_size=3),
)
def test_there_is_always_a_ready_pod_that_serves_stable_and_both_sets_are_alike(flags, count, trial):
    pods = [Member(f"p{i}", ready, canary) for i, (ready, canary) in enumerate(flags)]
    chosen = canary_pods(trial, pods, count)
    ready = {pod.name for pod in pods if pod.ready}
    assert len(chosen) in {0, *range(2, 2 * count + 1, 2)}
    assert chosen <= ready
    assert not ready or ready - chosen
    # Who is one already stays, where it is ready.
    kept = {pod.name for pod in pods if pod.ready and pod.canary}
    assert len(chosen & kept) == min(len(chosen), len(kept))


@given(st.integers(0, 50), st.sampled_from([1, 10, 50, 99, None]))
def test_the_weights_of_a_block_do_not_depend_on_the_coin(minutes, weight):
    """Given any block of a trial, each canary pod serves either arm once in it, while the weights stay as they are."""
    spec = a_spec_with(replicas=6, canaries=2, **({"weight": weight} if weight else {}))
    pods = [Pod(name, "", 1, 3, 1.0) for name in "abcdef"]
    members = frozenset("abcd")
    served = {}
    for slice_ in (0, 1):
        now = TRIED.since + timedelta(seconds=60 * (2 * minutes + slice_) + 5)
        found = assignments(spec, STABLE, TRIED, "u-1", pods, now, members)
        for name, (version, _) in found.items():
            served.setdefault(name, []).append(version)
        assert sum(shares(spec, 4)) == 100
    assert {name: sorted(versions) for name, versions in served.items()} == {
        name: [1, 2] if name in members else [1, 1] for name in "abcdef"
    }


@pytest.mark.parametrize(
    "live",
    [
        a_gateway_s((7, 3)),
        a_gateway_s((7, 3), group="", kind="Service", namespace="ns"),
        an_istio_s((7, 3)),
        an_istio_s((7, 3), suffix=".ns"),
        an_istio_s((7, 3), suffix=".ns.svc.cluster.local"),
    ],
)
def test_a_rule_with_both_services_and_no_others_is_dealt_by(live):
    found = splits(a_resource(kind=live["kind"]), live)
    assert [one.weights for one in found] == [(7, 3)]


OTHERS = a_gateway_s()
OTHERS["spec"]["rules"][1]["backendRefs"].append({"name": "third"})
TWICE = a_gateway_s()
TWICE["spec"]["rules"][1]["backendRefs"][1]["name"] = "chat-stable"


@pytest.mark.parametrize(
    "live",
    [
        a_gateway_s(namespace="other"),
        a_gateway_s(kind="ServiceImport"),
        a_gateway_s(group="multicluster.x-k8s.io"),
        an_istio_s(suffix=".other.svc"),
        an_istio_s(subset="v1"),
        OTHERS,
        TWICE,
        a_gateway_s() | {"spec": {"rules": "none"}},
        a_gateway_s() | {"spec": {"rules": [{"backendRefs": [1, 2]}]}},
        a_gateway_s() | {"spec": None},
    ],
)
def test_what_does_not_name_both_services_and_no_others_is_never_changed(live):
    spec = a_spec_with(kind=live["kind"])
    _, todo = planned(live, IDLE, spec=spec)
    assert todo.dealt == route.Dealt()
    assert reported("RouteReady", spec=spec, route=observed(live, spec))[0] == "RouteNotOurs"


def test_one_named_rule_is_dealt_by_alone():
    live = a_gateway_s()
    live["spec"]["rules"].append(copy.deepcopy(live["spec"]["rules"][1]) | {"name": "batch"})
    assert len(splits(a_resource(), live)) == 2
    (found,) = splits(a_resource(rule="batch"), live)
    assert found.canary.at == "/spec/rules/2/backendRefs/1"


@pytest.mark.parametrize(
    ("cluster", "reason", "says"),
    [
        (Served(lacks=True), "RouteKindMissing", "install the Gateway API"),
        (Served(), "RouteMissing", "there is no HTTPRoute front in namespace ns"),
        (Served(refuses=403), "RouteForbidden", "routes.enabled"),
        (Served(a_gateway_s() | {"status": {}}), "RouteNotAccepted", "no Gateway has taken it up"),
        (
            Served(
                a_gateway_s()
                | {
                    "status": {
                        "parents": [
                            {"conditions": [{"type": "Accepted", "status": "False", "reason": "No", "message": "m"}]}
                        ]
                    }
                }
            ),
            "RouteNotAccepted",
            "No: m",
        ),
        (Served(a_gateway_s((80, 20))), "RouteDeals", "deals 80 to chat-stable and 20 to chat-canary"),
    ],
)
def test_the_condition_says_why_nothing_is_dealt_and_then_no_trial_begins(cluster, reason, says):
    spec = a_spec_with()
    found = route.observed(cluster, Resource("chat", "ns", "u-1", spec))
    seen = reported("RouteReady", spec=spec, route=found)
    assert (seen[0], says in seen[1]) == (reason, True)
    status = Status(stable=STABLE, decided=1)
    versions = (Published(1, None), Published(2, 2.0))
    progress = reported("PromotionProgressing", spec=spec, status=status, versions=versions, route=found)
    if reason == "RouteDeals":
        assert progress[0] == "CollectingEvidence"
    else:
        assert progress[0] == "RouteNotReady"
        assert reason in progress[1]


def test_an_api_server_that_does_not_answer_is_no_missing_route():
    with pytest.raises(ClusterError):
        route.observed(Served(refuses=500), a_resource())


def test_a_route_that_cannot_be_read_leaves_the_pods_it_may_deal_to():
    pods = on_trial()
    for cluster, changed in ((Served(refuses=403), set()), (Served(), canaries(pods))):
        found = route.observed(cluster, a_resource())
        status = Status(stable=STABLE, candidate=TRIED, decided=1)
        serve = tuple(Pod(name, "10.0.0.1", 1, 3, 1.0) for name in FOUR)
        todo = plan(a_snapshot(a_spec_with(), status, engine_pods=tuple(pods), pods=serve, route=found))
        assert todo.dealt == route.Dealt(dict.fromkeys(changed, "stable"))
        # Nobody meets the candidate meanwhile.
        assert todo.loads == ()


def test_canary_pods_to_which_a_changed_rule_still_sends_requests_stay_and_serve_stable():
    pods, live = on_trial(), a_gateway_s((50, 50))
    live["spec"]["rules"][1]["backendRefs"].append({"name": "third"})
    _, todo = planned(live, pods)
    assert (todo.dealt, todo.loads) == (route.Dealt(), ())
    live["spec"]["rules"][1]["backendRefs"][1]["weight"] = 0
    _, todo = planned(live, pods)
    assert todo.dealt == route.Dealt(dict.fromkeys(canaries(pods), "stable"))


def test_another_client_that_sets_the_weights_is_named_and_then_not_fought():
    pods, live = on_trial(), a_gateway_s()
    live["metadata"]["managedFields"] = [
        {"manager": "argocd", "operation": "Update", "fieldsV1": {"f:spec": {"f:rules": {}}}}
    ]
    memory, now, tries = contest.Memory(), NOW, 0
    for _ in range(20):
        _, todo = planned(live, pods, now=now, applied=memory.of("ns/chat"))
        if todo.dealt.change is not None:
            tries += 1
            done = (todo.dealt.change.at, todo.dealt.change.rendered, todo.dealt.change.by)
            memory.note("ns/chat", [done], now)
        now += timedelta(seconds=2)
    assert tries == contest.ROUNDS + 1
    snapshot, todo = planned(live, pods, now=now, applied=memory.of("ns/chat"))
    seen = {one["type"]: one for one in todo.status["conditions"]}
    for kind, status in (("RouteReady", "False"), ("Degraded", "True")):
        assert (seen[kind]["status"], seen[kind]["reason"]) == (status, "FieldContested")
        assert "argocd sets weights of spec.rules" in seen[kind]["message"]
    assert route.eligible(snapshot) == frozenset()


def test_weights_that_were_not_taken_show_in_the_condition():
    problem = Problem("ApplyRefused", "cannot patch", route.key(a_resource()))
    spec = a_spec_with()
    found = observed(a_gateway_s(), spec)
    assert reported("RouteReady", spec=spec, route=found, problems=(problem,)) == ("ApplyRefused", "cannot patch")


def test_services_and_the_label_of_a_pod_that_starts_are_there_with_a_route_alone():
    with_route = a_resource()
    without = Resource("chat", "ns", "u-1", a_spec(serving={"replicas": 4}))
    assert serving.pod_sets(without) == []
    selectors = {one["metadata"]["name"]: one["spec"]["selector"] for one in serving.pod_sets(with_route)}
    assert {name: selector[POD_SET] for name, selector in selectors.items()} == {
        "chat-stable": "stable",
        "chat-canary": "canary",
    }
    labels = [serving.template(one, IMAGES, "")["metadata"]["labels"] for one in (with_route, without)]
    assert labels[0] == labels[1] | {POD_SET: "stable"}
    assert selectors["chat-stable"].items() <= labels[0].items()
    # No selector of a Deployment may change.
    made = [serving.deployment(one, IMAGES, "")["spec"]["selector"] for one in (with_route, without)]
    assert made[0] == made[1]


def test_a_resource_that_goes_gives_stable_all_requests_again():
    cluster = Served(a_gateway_s((60, 40)))
    route.release(cluster, a_resource())
    ((*at, operations),) = cluster.patches
    assert at == [*a_gateway_at()[:2], "ns", "front"]
    assert [one["value"] for one in operations if one["op"] == "add"] == [100, 0]
    for quiet in (Served(OTHERS), Served(), Served(refuses=403)):
        route.release(quiet, a_resource())
        assert quiet.patches == []


def a_gateway_at():
    return route.key(a_resource())


def test_a_pod_from_before_the_route_serves_stable_at_once():
    _, todo = planned(a_gateway_s(), [a_pod("a", ""), *IDLE[1:]], tried=None)
    assert todo.dealt == route.Dealt({"a": "stable"})
