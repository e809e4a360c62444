"""NetworkPolicies of a deployment's pods, as the chart's values say, on a real API server."""

import json
import subprocess

import pytest
import yaml
from apiserver_support import GOOD, ROOT, kubectl
from aurora_operator.api.spec import Spec
from aurora_operator.render.identity import Resource
from aurora_operator.render.network import NetworkPeers, policies
from host import wait
from operated import Operator

SPACE = ("-n", "networked")
MOONCAKE = {"transport": "Mooncake", "mooncakeMaster": "m.store:50051", "mooncakeMetadata": "https://m.store/metadata"}


def setting(*values):
    """The operator's setting, as the chart renders it; None where it renders none."""
    chart = str(ROOT / "charts" / "aurora-operator")
    arguments = [part for value in values for part in ("--set", value)]
    command = ["helm", "template", "aurora", chart, "--namespace", "system", "--kube-version", "1.34.0", *arguments]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (operator,) = (body for body in yaml.safe_load_all(text) if body and body["kind"] == "Deployment")
    env = {one["name"]: one.get("value") for one in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
    return env.get("AURORA_OPERATOR_NETWORK")


def found():
    done = kubectl("get", "networkpolicies", *SPACE, "-o", "json")
    return {one["metadata"]["name"]: one for one in json.loads(done.stdout)["items"]}


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("networkPolicy.deployments.clients=null",),
        (
            "networkPolicy.deployments.mooncake.to[0].ipBlock.cidr=10.0.0.0/8",
            "networkPolicy.deployments.dns.ports={5353}",
        ),
    ],
)
@pytest.mark.parametrize("samples", [{}, {"samples": MOONCAKE}])
def test_the_api_server_takes_what_the_chart_s_values_say(values, samples):
    resource = Resource("chat", "default", "u-1", Spec.model_validate(GOOD["spec"] | samples))
    peers = NetworkPeers.model_validate_json(setting(*values))
    assert peers.operator == (
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "system"}},
            "podSelector": {
                "matchLabels": {"app.kubernetes.io/name": "aurora-operator", "app.kubernetes.io/instance": "aurora"}
            },
        },
    )
    for body in policies(resource, peers):
        done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(body))
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", ["networkPolicy.enabled=false", "networkPolicy.deployments.enabled=false"])
def test_an_administrator_may_want_none(value):
    assert setting(value) is None


def test_the_operator_makes_keeps_and_takes_back_the_policies(tmp_path):
    kubectl("create", "namespace", SPACE[1])
    running = Operator.start(SPACE[1], tmp_path / "first", NETWORK=setting())
    try:
        done = kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(GOOD | {"metadata": {"name": "chat"}}))
        assert done.returncode == 0, done.stderr
        wait("policies", lambda: found().keys() == {"chat-engine", "chat-trainer", "chat-init"}, 60)
        kubectl("patch", "networkpolicy", "chat-engine", *SPACE, "--type=merge", "-p", '{"spec": {"ingress": [{}]}}')
        wait("everybody is no longer let in", lambda: all(found()["chat-engine"]["spec"]["ingress"]), 20)
        kubectl("delete", "networkpolicy", "chat-trainer", *SPACE)
        wait("it is back", lambda: "chat-trainer" in found(), 20)
        settled = "aurora_operator_reconcile_seconds_count"
        before = running.metric(settled)
        wait("some reconciles", lambda: running.metric(settled) >= before + 2, 40)
        writes, before = running.metric("aurora_operator_writes_total"), running.metric(settled)
        wait("some more", lambda: running.metric(settled) >= before + 2, 40)
        assert running.metric("aurora_operator_writes_total") == writes
    finally:
        running.stop()
        print((tmp_path / "first").read_text())
    running = Operator.start(SPACE[1], tmp_path / "second")
    try:
        wait("no policies", lambda: not found(), 60)
    finally:
        running.stop()
        print((tmp_path / "second").read_text())
        kubectl("delete", "namespace", SPACE[1], "--wait=false")
