"""Engine pods of another owner: which of them count, what is made beside them, and what their workload needs."""

import copy
import json

import pytest
import yaml
from aurora_operator.api.status import Status
from aurora_operator.cli.main import main
from aurora_operator.promotion.assignment import strategy
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile.observe import _pods
from aurora_operator.reconcile.ownership import Adopted, adopted
from aurora_operator.reconcile.plan import plan
from aurora_operator.render import serving
from aurora_operator.render.adoption import patch
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.merge import pod_template
from aurora_operator.render.network import NetworkPeers
from kubectl_stub import Stub
from operator_support import IMAGES, NOW, a_body, a_snapshot, a_spec, reported, settled

SPEC = a_spec(serving={"adopt": {"selector": {"app": "sglang"}}, "extraArgs": ["--mem-fraction-static", "0.8"]})
RESOURCE = Resource("chat", "ns", "u-1", SPEC)
READY = {"conditions": [{"type": "Ready", "status": "True"}]}
PREPARED = (
    {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "chat-init", "uid": "init"},
        "status": {"succeeded": 1},
    },
)


def a_pod(name, *, held="chat-keys", key="agent", owner="theirs", status=READY, **metadata):
    reference = {"valueFrom": {"secretKeyRef": {"name": held, "key": key}}}
    containers = [{"name": "sglang"}, {"name": "agent", "env": [{"name": "HOME", "value": "/"}, reference]}]
    owners = [{"uid": owner, "controller": True}]
    return {
        "metadata": {"name": name, "ownerReferences": owners, **metadata},
        "spec": {"containers": containers},
        "status": status,
    }


def test_pods_count_that_carry_the_agent_with_this_resource_s_key():
    fit = a_pod("a")
    others = (a_pod("b", held="other-keys"), a_pod("c", key="admin"), {**a_pod("d"), "spec": {}})
    own = a_pod("chat-trainer-0", owner="trainer")
    assert adopted(RESOURCE, [*others, fit, own], frozenset({"trainer"})) == Adopted((fit,), ("b", "c", "d"))


class Pods:
    """A namespace with pods."""

    def __init__(self, *pods):
        self.pods = pods

    def list(self, _, kind, __, labels):
        assert kind == "Pod"
        return self.select(_, kind, __, labels)

    def select(self, _, __, ___, labels):
        return [pod for pod in self.pods if labels.items() <= (pod["metadata"].get("labels") or {}).items()]


def test_a_pod_with_the_operator_s_labels_is_a_stranger_unless_the_selector_matches_it():
    everything = RESOURCE.everything
    one = a_pod("one", labels={"app": "sglang"})
    both = a_pod("both", labels={"app": "sglang", **everything})
    stranger = a_pod("stranger", labels=everything)
    trainer = a_pod("chat-trainer-0", owner="t", labels={"app": "sglang", **everything})
    children = {("batch/v1", "Job", "chat-trainer"): {"metadata": {"name": "chat-trainer", "uid": "t"}}}
    own, found = _pods(Pods(one, both, stranger, trainer, a_pod("none")), RESOURCE, children, NOW)
    assert (own.own, own.strangers) == ((trainer,), ("stranger",))
    assert found == Adopted((one, both))


def test_neither_pods_nor_a_service_nor_a_policy_of_engines_is_made():
    peers = NetworkPeers(operator=({"podSelector": {}},))
    _, children = settled(SPEC, network=peers)
    kinds = {(body["kind"], body["metadata"]["name"]) for body in children}
    assert kinds == {
        ("PersistentVolumeClaim", "chat-weights"), ("ConfigMap", "chat-config"), ("ConfigMap", "chat-desired"),
        ("Secret", "chat-keys"), ("Job", "chat-init"), ("Job", "chat-trainer"),
        ("NetworkPolicy", "chat-trainer"), ("NetworkPolicy", "chat-init"),
    }  # fmt: skip


def test_what_is_served_is_compared_across_time_by_whatever_pods_there_are():
    assert strategy(SPEC) == "Switchback"
    pods = (a_pod("a"), a_pod("b"), a_pod("c", status={}))
    status = plan(a_snapshot(SPEC, children=PREPARED, engine_pods=pods)).status["serving"]
    assert (status["replicas"], status["ready"], status["selector"]) == (3, 2, "app=sglang")
    found = reported("Available", spec=SPEC, children=PREPARED, engine_pods=pods)
    assert found == ("SomeReady", "2 of 3 engine pods are ready")


def test_versions_go_live_in_adopted_pods():
    """Also in those that came with another one."""
    pods = (Pod("a", "10.0.0.1", live=0, steps=0), Pod("b", "10.0.0.2", live=7, steps=3))
    made = plan(a_snapshot(SPEC, Status(), children=PREPARED, engine_pods=(a_pod("a"), a_pod("b")), pods=pods))
    assert [(load.pod.name, load.version, load.steps) for load in made.loads if load.pod.name == "b"] == [("b", 0, 0)]


def test_what_lacks_the_agent_is_named():
    found = reported("Available", spec=SPEC, children=PREPARED)
    assert found[0] == "NothingAdopted"
    assert "none has the labels app=sglang" in found[1]
    assert "kubectl aurora adopt" in reported("Available", spec=SPEC, children=PREPARED, unfit=("x",))[1]
    reason, message = reported("Degraded", spec=SPEC, children=PREPARED, engine_pods=(a_pod("a"),), unfit=("x", "y"))
    assert reason == "AgentMissing"
    assert "Secret chat-keys: x, y;" in message


def test_a_patched_workload_runs_what_an_own_one_would():
    theirs = {
        "metadata": {"labels": {"app": "sglang"}},
        "spec": {"containers": [{"name": "main", "image": "lmsysorg/sglang", "command": ["python3"], "args": ["-m"]}]},
    }
    made = patch(RESOURCE, IMAGES, "sglang", "main")["spec"]["template"]
    assert yaml.safe_load(yaml.safe_dump(made)) == made
    merged = pod_template(copy.deepcopy(theirs), made)
    own = serving.template(RESOURCE, IMAGES, "")["spec"]
    engine, agent = merged["spec"]["containers"]
    assert (engine["name"], engine["command"], engine["image"]) == ("main", ["aurora-core"], IMAGES.engine)
    for part in ("args", "env", "volumeMounts"):
        assert engine[part] == own["containers"][0][part]
    assert agent == own["containers"][1]
    assert merged["spec"]["volumes"] == own["volumes"]
    assert merged["metadata"]["labels"] == {"app": "sglang"}
    other = Resource("chat", "ns", "u-1", a_spec(serving={"adopt": {"selector": {"app": "sglang"}}, "threads": 3}))
    again = patch(other, IMAGES, "sglang", "main")["spec"]["template"]
    assert again["metadata"] != made["metadata"], "another configuration restarts the pods"


@pytest.mark.parametrize(
    ("spec", "arguments", "part"),
    [
        (SPEC, ("--engine-image", "mine:1"), "image: mine:1"),
        (SPEC, (), "--engine-image"),
        (a_spec(), ("--engine-image", "mine:1"), "serving.adopt.selector names"),
    ],
)
def test_the_command_prints_the_patch(tmp_path, monkeypatch, capsys, spec, arguments, part):
    Stub(tmp_path, monkeypatch).answer(
        {"get speculatordeployments.aurora-operator.io chat": (0, json.dumps(a_body(spec)), "")}
    )
    words = ["aurora", "adopt", "chat", "--deployment", "sglang", "--container", "main", *arguments]
    monkeypatch.setattr("sys.argv", words)
    refusal = ""
    try:
        main()
    except SystemExit as end:
        refusal = str(end.code)
    out, err = capsys.readouterr()
    assert part in refusal + out + err
    if not refusal:
        assert yaml.safe_load(out) == patch(RESOURCE, Images("mine:1", ""), "sglang", "main")
