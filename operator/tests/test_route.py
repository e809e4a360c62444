"""A Canary by request: what of a route is changed, and what is reported of it."""

import copy
from datetime import timedelta

import pytest
from aurora_operator.api.status import Status
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.reconcile import contest, route
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Problem
from aurora_operator.render import serving
from aurora_operator.render.identity import POD_SET, Resource
from aurora_operator.render.route import splits
from operator_support import IMAGES, NOW, a_snapshot, a_spec, reported
from route_support import (
    FOUR,
    IDLE,
    PARENT,
    STABLE,
    TRIED,
    Served,
    a_gateway_s,
    a_pod,
    a_resource,
    a_spec_with,
    a_status,
    an_istio_s,
    canaries,
    observed,
    on_trial,
    planned,
)


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
        # Known before a trial makes canary pods.
        (Served(a_gateway_s(), endpoints="forbidden"), "RouteForbidden", "the right to list the endpoints of Services"),
        (Served(a_gateway_s() | {"status": {}}), "RouteNotAccepted", "no Gateway has accepted it"),
        (Served(a_gateway_s() | {"status": a_status(("Accepted", "False", "No", "m"))}), "RouteNotAccepted", "No: m"),
        # Of a Gateway that the route named before.
        (
            Served(a_gateway_s() | {"status": a_status(("Accepted", "True"), parent={"name": "other"})}),
            "RouteNotAccepted",
            "no Gateway has accepted it",
        ),
        (
            Served(a_gateway_s() | {"status": a_status(("Accepted", "True"), parent=PARENT | {"namespace": "other"})}),
            "RouteNotAccepted",
            "no Gateway has accepted it",
        ),
        (
            Served(
                a_gateway_s()
                | {"status": a_status(("Accepted", "True"), ("ResolvedRefs", "False", "BackendNotFound", "port 80"))}
            ),
            "RouteNotResolved",
            "a backend, of any rule of this route, is not resolved: BackendNotFound: port 80",
        ),
        # A reason of a controller's own, such as that a Service has no pod, keeps nothing back.
        (
            Served(
                a_gateway_s() | {"status": a_status(("Accepted", "True"), ("ResolvedRefs", "False", "NoEndpoints"))}
            ),
            "RouteDeals",
            "deals 100 to chat-stable",
        ),
        (
            Served(
                a_gateway_s()
                | {
                    "status": a_status(
                        ("Accepted", "True"),
                        parent={
                            "group": "gateway.networking.k8s.io",
                            "kind": "Gateway",
                            "namespace": "ns",
                            "name": "public",
                            "sectionName": "web",
                        },
                    )
                }
            ),
            "RouteDeals",
            "deals 100 to chat-stable",
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
