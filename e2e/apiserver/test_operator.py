"""The operator and a real API server, without a kubelet: what it makes, leaves alone, puts back and takes away."""

import json
import time

import pytest
from conftest import GOOD, kubectl
from operated import Operator

SPACE = ("-n", "operated")
DOOR = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "chat"},
    "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]},
}


def read(kind, name):
    done = kubectl("get", kind, name, *SPACE, "-o", "json")
    return json.loads(done.stdout) if done.returncode == 0 else None


def condition(kind):
    found = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def eventually(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return value


def patch(spec):
    done = kubectl("patch", "specdep", "chat", *SPACE, "--type=merge", "-p", json.dumps({"spec": spec}))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", autouse=True)
def operator(tmp_path_factory):
    kubectl("create", "namespace", SPACE[1])
    assert kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(DOOR)).returncode == 0
    log = tmp_path_factory.mktemp("operator") / "log"
    running = Operator(SPACE[1], log)
    body = GOOD | {"metadata": {"name": "chat"}}
    assert kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
    eventually("a job", lambda: read("job", "chat-init"))
    # No Job controller is here to say it.
    prepared = json.dumps({"status": {"succeeded": 1}})
    assert kubectl("patch", "job", "chat-init", *SPACE, "--subresource=status", "-p", prepared).returncode == 0
    eventually("all is made", lambda: read("job", "chat-trainer"))
    yield running
    running.stop()
    print(log.read_text())
    kubectl("delete", "namespace", SPACE[1], "--wait=false")


def test_a_service_of_somebody_else_is_left_alone_until_its_owner_takes_it_away():
    eventually("told", lambda: condition("Degraded").get("reason") == "NameTaken")
    assert "Service operated/chat is somebody else's" in condition("Degraded")["message"]
    assert read("service", "chat")["spec"]["selector"] == {"app": "mine"}
    kubectl("delete", "service", "chat", *SPACE)
    eventually("its own", lambda: read("service", "chat"))
    assert read("service", "chat")["metadata"]["ownerReferences"][0]["name"] == "chat"
    eventually("told", lambda: condition("Degraded").get("reason") == "AsWanted")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("service", "chat"), ("deployment", "chat-engine"), ("job", "chat-trainer"), ("configmap", "chat-wanted"),
        ("secret", "chat-keys"),
    ],
)  # fmt: skip
def test_what_somebody_deletes_is_back_within_ten_seconds(kind, name):
    before = read(kind, name)["metadata"]["uid"]
    began = time.monotonic()
    kubectl("delete", kind, name, *SPACE)
    eventually("back", lambda: (read(kind, name) or {"metadata": {"uid": before}})["metadata"]["uid"] != before, 10)
    print(f"{kind} back after {time.monotonic() - began:.1f} s")


def test_a_budget_comes_with_the_second_replica_and_goes_with_it():
    patch({"serving": {"replicas": 2}})
    eventually("a budget", lambda: read("poddisruptionbudget", "chat-engine"))
    patch({"serving": {"replicas": 1}})
    eventually("no budget", lambda: read("poddisruptionbudget", "chat-engine") is None)
    assert read("deployment", "chat-engine")["spec"]["replicas"] == 1


def test_a_trainer_s_template_that_is_taken_back_is_taken_back():
    def has(level):
        job = read("job", "chat-trainer")
        containers = job["spec"]["template"]["spec"]["containers"] if job else []
        return [{one["name"]: one.get("value") for one in c["env"]}.get("LEVEL") for c in containers] == [level]

    env = {"spec": {"containers": [{"name": "trainer", "env": [{"name": "LEVEL", "value": "debug"}]}]}}
    patch({"training": {"podTemplate": env}})
    eventually("there", lambda: has("debug"))
    patch({"training": {"podTemplate": None}})
    eventually("gone", lambda: has(None))
    assert condition("Degraded")["reason"] == "AsWanted"


def test_at_rest_nothing_is_written(operator):
    time.sleep(5)
    writes, looks = "aurora_operator_writes_total", "aurora_operator_reconcile_seconds_count"
    written, looked = operator.metric(writes), operator.metric(looks)
    time.sleep(12)
    assert operator.metric(looks) > looked
    assert operator.metric(writes) == written
