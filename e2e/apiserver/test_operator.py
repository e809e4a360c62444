"""The operator and a real API server, without a kubelet: what it makes, leaves alone, puts back and takes away."""

import json
import time

import apiserver_support
import pytest
from apiserver_support import GOOD, kubectl
from aurora_operator.clients.secrets import ALLOWED_HOSTS
from aurora_operator.render.credentials import ANNOTATION
from host import wait
from operated import Operator, prepare

SPACE = ("-n", "operated")
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "chat"},
    "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]},
}


def read(kind, name):
    return apiserver_support.read(SPACE[1], kind, name)


def condition(kind):
    found = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def patch(spec):
    done = kubectl("patch", "specdep", "chat", *SPACE, "--type=merge", "-p", json.dumps({"spec": spec}))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", autouse=True)
def operator(tmp_path_factory):
    kubectl("create", "namespace", SPACE[1])
    assert kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(SERVICE)).returncode == 0
    log = tmp_path_factory.mktemp("operator") / "log"
    running = Operator.start(SPACE[1], log)
    body = GOOD | {"metadata": {"name": "chat"}}
    assert kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
    wait("a job", lambda: read("job", "chat-init"), 20)
    prepare(SPACE[1], "job/chat-init")
    wait("all is made", lambda: read("job", "chat-trainer"), 20)
    yield running
    running.stop()
    print(log.read_text())
    kubectl("delete", "namespace", SPACE[1], "--wait=false")


def test_a_service_of_another_owner_is_left_alone_until_its_owner_takes_it_away():
    wait("reported", lambda: condition("Degraded").get("reason") == "NameTaken", 20)
    assert "Service operated/chat already exists and is not owned by this resource" in condition("Degraded")["message"]
    assert read("service", "chat")["spec"]["selector"] == {"app": "mine"}
    kubectl("delete", "service", "chat", *SPACE)
    wait("its own", lambda: read("service", "chat"), 20)
    assert read("service", "chat")["metadata"]["ownerReferences"][0]["name"] == "chat"
    wait("reported", lambda: condition("Degraded").get("reason") == "AsExpected", 20)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("service", "chat"), ("deployment", "chat-engine"), ("job", "chat-trainer"), ("configmap", "chat-desired"),
        ("secret", "chat-keys"),
    ],
)  # fmt: skip
def test_what_another_client_deletes_is_back_within_ten_seconds(kind, name):
    before = read(kind, name)["metadata"]["uid"]
    began = time.monotonic()
    kubectl("delete", kind, name, *SPACE)
    wait("back", lambda: (read(kind, name) or {"metadata": {"uid": before}})["metadata"]["uid"] != before, 10)
    print(f"{kind} back after {time.monotonic() - began:.1f} s")


def test_a_budget_comes_with_the_second_replica_and_goes_with_it():
    patch({"serving": {"replicas": 2}})
    wait("a budget", lambda: read("poddisruptionbudget", "chat-engine"), 20)
    patch({"serving": {"replicas": 1}})
    wait("no budget", lambda: read("poddisruptionbudget", "chat-engine") is None, 20)
    wait("one replica", lambda: read("deployment", "chat-engine")["spec"]["replicas"] == 1, 20)


def a_running_pod(name, *, ready):
    """A pod with the engines' labels, which a disruption budget counts."""
    labels = read("deployment", "chat-engine")["spec"]["selector"]["matchLabels"]
    spec = {"containers": [{"name": "engine", "image": "none/engine"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    assert kubectl("create", *SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    kubectl("patch", "pod", name, *SPACE, "--subresource=status", "-p", json.dumps({"status": status}))


def evicted(name):
    """As a drain does it."""
    metadata = {"name": name, "namespace": SPACE[1]}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    path = f"/api/v1/namespaces/{SPACE[1]}/pods/{name}/eviction"
    return kubectl("create", "--raw", path, "-f", "-", stdin=body)


def test_a_drain_waits_for_a_pod_that_serves_and_not_for_one_that_crashes():
    """Given a budget that is used up, when both kinds of pods are to be evicted, then the one that serves stays."""
    kubectl("create", "serviceaccount", "default", *SPACE)
    patch({"serving": {"replicas": 2}})
    wait("a budget", lambda: read("poddisruptionbudget", "chat-engine"), 20)
    a_running_pod("chat-engine-good", ready=True)
    a_running_pod("chat-engine-bad", ready=False)
    # What the disruption controller would write, where there is none.
    counts = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 2, "expectedPods": 3}
    generation = read("poddisruptionbudget", "chat-engine")["metadata"]["generation"]
    status = json.dumps({"status": counts | {"observedGeneration": generation}})
    kubectl("patch", "pdb", "chat-engine", *SPACE, "--subresource=status", "--type=merge", "-p", status)
    assert "violate the pod's disruption budget" in evicted("chat-engine-good").stderr
    assert evicted("chat-engine-bad").returncode == 0
    kubectl("delete", "pod", "chat-engine-good", *SPACE, "--force", "--grace-period=0")
    patch({"serving": {"replicas": 1}})


def test_a_trainer_s_template_that_is_taken_back_is_taken_back():
    def has(level):
        job = read("job", "chat-trainer")
        containers = job["spec"]["template"]["spec"]["containers"] if job else []
        return [{one["name"]: one.get("value") for one in c["env"]}.get("LEVEL") for c in containers] == [level]

    env = {"spec": {"containers": [{"name": "trainer", "env": [{"name": "LEVEL", "value": "debug"}]}]}}
    patch({"training": {"podTemplate": env}})
    wait("there", lambda: has("debug"), 20)
    patch({"training": {"podTemplate": None}})
    wait("gone", lambda: has(None), 20)
    assert condition("Degraded")["reason"] == "AsExpected"


def test_a_credential_that_changes_reaches_the_pods_by_itself():
    def stamps():
        bodies = read("deployment", "chat-engine"), read("job", "chat-trainer")
        return [body and body["spec"]["template"]["metadata"]["annotations"][ANNOTATION] for body in bodies]

    def replaced(before, *which):
        now = stamps()
        return all(now) and [now[i] != before[i] for i in range(2)] == [i in which for i in range(2)]

    def store(value):
        metadata = {"name": "users", "annotations": {ALLOWED_HOSTS: f"chat.{SPACE[1]}.svc"}}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": value}}
        assert kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0

    before = stamps()
    # A value that was removed is made again; engines and trainer have it.
    kubectl("patch", "secret", "chat-keys", *SPACE, "--type=merge", "-p", json.dumps({"data": {"samples": None}}))
    wait("pods with the new value", lambda: replaced(before, 0, 1), 30)
    store("first-Qz7")
    patch({"serving": {"apiKeySecret": {"name": "users", "key": "key"}}})
    before = stamps()
    wait("pods with a users' key", lambda: replaced(before, 0), 30)
    before = stamps()
    store("second-Qz7")
    wait("pods with the next one", lambda: replaced(before, 0), 30)
    shown = kubectl("get", "specdep,deployments,jobs,configmaps,events", *SPACE, "-o", "json").stdout
    assert "apiKeySecret" in shown
    assert "Qz7" not in shown
    patch({"serving": {"apiKeySecret": None}})


def test_at_rest_nothing_is_written(operator):
    time.sleep(5)
    writes, reconciles = "aurora_operator_writes_total", "aurora_operator_reconcile_seconds_count"
    written, reconciled = operator.metric(writes), operator.metric(reconciles)
    time.sleep(12)
    assert operator.metric(reconciles) > reconciled
    assert operator.metric(writes) == written
