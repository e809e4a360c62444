"""Policies say who may reach a deployment's pods, and whom they may reach; an empty list is nobody."""

import pytest
from aurora_operator.errors import OperatorError
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import key
from aurora_operator.render.identity import Resource
from aurora_operator.render.network import NetworkPeers, policies
from aurora_operator.settings import Settings
from hypothesis import given
from hypothesis import strategies as st
from operator_support import a_snapshot, a_spec, as_applied
from pydantic import ValidationError

OPERATOR, MONITORING, DNS, STORE = ({"namespaceSelector": {"matchLabels": {"a": name}}} for name in "omds")
PEERS = NetworkPeers(operator=(OPERATOR,), monitoring=(MONITORING,), dns=(DNS,), mooncake=(STORE,))
MOONCAKE = {"transport": "Mooncake", "mooncakeMaster": "m.store:50051", "mooncakeMetadata": "http://m.store:18090/md"}
LOCAL = {"model": "/model/x", "volume": {"claimName": "models"}}


def made(peers=PEERS, **spec):
    """Ingress and egress of each kind of pod, as (peers, ports)."""

    def flat(rules, direction):
        return [(rule[direction], [one["port"] for one in rule.get("ports", ())]) for rule in rules]

    bodies = policies(Resource("chat", "ns", "u-1", a_spec(**spec)), peers)
    return {
        body["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: (
            flat(body["spec"]["ingress"], "from"),
            flat(body["spec"]["egress"], "to"),
        )
        for body in bodies
    }


def test_stores_that_the_chart_brings_are_reached_at_any_port_and_by_the_pods_of_a_mooncake_alone():
    peers = PEERS.model_copy(update={"stores": (STORE,)})
    assert ([STORE], []) in made(peers, samples=MOONCAKE)["trainer"][1]
    assert ([STORE], []) in made(peers, samples=MOONCAKE)["engine"][1]
    assert ([STORE], []) not in made(peers)["engine"][1]
    assert ([STORE], []) not in made(samples=MOONCAKE)["engine"][1]


def test_an_agent_is_reached_by_the_operator_and_prometheus_alone_and_engines_reach_nothing_but_dns():
    ingress, egress = made()["engine"]
    assert ingress == [(list(PEERS.clients), [30000]), ([OPERATOR, MONITORING], [30001])]
    assert egress == [([DNS], [53])] * 2


def test_a_trainer_takes_scrapes_and_nothing_else_and_reaches_nothing_but_dns():
    assert made()["trainer"] == ([([MONITORING], [9100])], [([DNS], [53])] * 2)


@pytest.mark.parametrize(
    ("spec", "fetches"),
    [
        ({}, True),
        ({"target": LOCAL}, False),
        ({"target": LOCAL, "mode": "ExternalWithDraft", "draft": {"checkpoint": "org/draft"}}, True),
        ({"target": LOCAL, "mode": "ExternalWithDraft", "draft": {"checkpoint": "/model/draft"}}, False),
    ],
)
def test_only_the_init_pod_reaches_the_hub_and_only_where_something_comes_from_there(spec, fetches):
    ingress, egress = made(**spec)["init"]
    assert ingress == []
    assert [ports for _, ports in egress] == [[53], [53], *([[443]] if fetches else [])]
    assert all(set(peer) != {"ipBlock"} or peer["ipBlock"].get("except") for peers, _ in egress for peer in peers)


def test_with_mooncake_engines_and_trainer_reach_each_other_and_the_store():
    own = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "aurora", "app.kubernetes.io/instance": "chat"}}}
    for component in ("engine", "trainer"):
        ingress, egress = made(samples=MOONCAKE)[component]
        assert ingress[-1] == ([own], [])
        assert egress[2:] == [([own], []), ([STORE], [18090, 50051])]


@given(
    st.sets(st.sampled_from(["monitoring", "clients", "dns", "hub", "mooncake"])),
    st.sampled_from([{}, {"samples": MOONCAKE}, {"target": LOCAL}]),
)
def test_no_rule_is_without_peers(empty, spec):
    """Given that nobody is named somewhere, then the rule is left out: Kubernetes takes an empty list for everybody."""
    peers = PEERS.model_copy(update=dict.fromkeys(empty, ()))
    for ingress, egress in made(peers, **spec).values():
        assert all(named for named, _ in [*ingress, *egress])


def test_policies_come_before_the_pods_and_go_where_none_are_asked_for():
    snapshot = a_snapshot(network=PEERS)
    applied = plan(snapshot).apply
    assert [body["kind"] for body in applied[:3]] == ["NetworkPolicy"] * 3
    again = a_snapshot(network=PEERS, children=[as_applied(body) for body in applied])
    assert not [body for body in plan(again).apply if body["kind"] == "NetworkPolicy"]
    without = plan(a_snapshot(children=applied))
    assert set(without.delete) == {key(body) for body in applied[:3]}


def test_the_settings_are_json_and_wrong_ones_are_named(monkeypatch):
    for name in ("ENGINE_IMAGE", "TRAINER_IMAGE"):
        monkeypatch.setenv(f"AURORA_OPERATOR_{name}", "x")
    assert Settings.from_environment().network is None
    monkeypatch.setenv("AURORA_OPERATOR_NETWORK", '{"operator": [{"podSelector": {}}], "dnsPorts": [5353]}')
    found = Settings.from_environment().network
    assert found is not None
    assert found.dns_ports == (5353,)
    for wrong in ("{", '{"operator": []}', '{"operator": [{}]}', '{"operator": [{"podSelector": {}}], "x": 1}'):
        monkeypatch.setenv("AURORA_OPERATOR_NETWORK", wrong)
        with pytest.raises(OperatorError, match="AURORA_OPERATOR_NETWORK"):
            Settings.from_environment()


def test_nobody_may_be_left_out_as_the_operator():
    with pytest.raises(ValidationError):
        NetworkPeers(operator=())
