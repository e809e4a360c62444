"""Whatever spelling a resource has and whatever webhooks make of it, a real operator writes nothing at rest."""

import copy
import json
import time

import pytest
from apiserver_support import GOOD, kubectl
from host import wait
from operated import Operator, prepare
from webhook import Mutating, rule

SPACE = ("-n", "settling")
REST_SECONDS = 20
WRITES, RECONCILES = "aurora_operator_writes_total", "aurora_operator_reconcile_seconds_count"


def containers(name, **more):
    return {"podTemplate": {"spec": {"containers": [{"name": name, **more}]}}}


SPELLINGS = {
    "plain": {"serving": {"resources": {"limits": {"memory": "8Gi", "cpu": "4"}}}},
    "milli": {"serving": {"resources": {"requests": {"cpu": "1000m"}}}},
    "half": {"serving": {"resources": {"requests": {"cpu": "0.5"}}}},
    "mebi": {"serving": {"resources": {"limits": {"memory": "1024Mi"}}}},
    "fraction": {"serving": {"resources": {"limits": {"memory": "1.5Gi"}}}},
    "trainer": {"training": {"resources": {"limits": {"memory": "65536Mi", "cpu": "0.50"}}}},
    "integer": {"serving": containers("agent", resources={"requests": {"cpu": 1, "memory": "256Mi"}})},
    "empty-env": {"serving": containers("engine", env=[{"name": "HTTP_PROXY", "value": ""}])},
    "size-limit": {"serving": {"podTemplate": {"spec": {"volumes": [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16384Mi"}}]}}}},
    "empty-key": {"serving": {"podTemplate": {"spec": {"tolerations": [{"key": "", "operator": "Exists"}]}}}},
    "empty-value": {"training": {"podTemplate": {"spec": {"tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "", "effect": "NoSchedule"}]}}}},
    "false": {"serving": {"podTemplate": {"spec": {"hostNetwork": False, "nodeSelector": {}}}}},
    "zero": {"serving": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 0}}}},
    "empty-path": {"serving": containers("engine", volumeMounts=[{"name": "shm", "mountPath": "/x", "subPath": ""}])},
    "no-delay": {"serving": containers("engine", livenessProbe={"initialDelaySeconds": 0})},
    "capability": {"serving": containers("engine", securityContext={"capabilities": {"add": []}})},
    "null": {"serving": {"podTemplate": {"spec": {"securityContext": {"runAsGroup": None, "fsGroup": None}}}}},
    "affinity": {"serving": {"podTemplate": {"spec": {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "gpu", "operator": "Exists", "values": []}]}]}}}}}}},
    "ports": {"serving": {"podTemplate": {"spec": {"containers": [{"name": "side", "image": "x", "ports": [
        {"containerPort": 53, "name": "a"}, {"containerPort": 53, "name": "b", "protocol": "UDP"}]}]}}}},
    "topology": {"serving": {"podTemplate": {"spec": {"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]}}}},
    "aliases": {"training": {"podTemplate": {"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]}}}},
    "pull-secrets": {"serving": {"podTemplate": {"spec": {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}}}},
    "storage": {"weights": {"template": {"size": "20480Mi"}}},
    "mooncake": {"samples": {"transport": "Mooncake", "mooncakeMaster": "m:1", "mooncakeMetadata": "http://m/x"},
                 "serving": {"replicas": 2}},
    "suspended": {"suspend": True},
}  # fmt: skip


def meddled(body):
    """As policy engines and service meshes change it: a mirror's image, a sidecar, labels, other values."""
    metadata = body["metadata"]
    metadata.setdefault("labels", {})["policy.example.com/checked"] = "true"
    if body["kind"] not in {"Deployment", "Job"} or body.get("spec") is None:
        return body
    pod = body["spec"]["template"]["spec"]
    for one in [*pod["containers"], *pod.get("initContainers", [])]:
        if "/" in one["image"] and not one["image"].startswith("mirror.example.com/"):
            one["image"] = f"mirror.example.com/{one['image']}"
        one["env"] = [
            *(e for e in one.get("env", []) if e["name"] not in {"MESH", "TMPDIR"}),
            {"name": "MESH", "value": "on"},
        ]
        one["resources"] = {"requests": {"cpu": "100m"}, "limits": {"memory": "2Gi"}}
    if body["kind"] == "Deployment" and all(one["name"] != "mesh" for one in pod["containers"]):
        pod["containers"].insert(0, {"name": "mesh", "image": "mesh/proxy"})
    pod["terminationGracePeriodSeconds"] = 7
    pod["tolerations"] = [{"key": "policy", "operator": "Exists"}]
    return body


def stripped(body):
    """As one that allows no unknown annotations."""
    for name in [name for name in body["metadata"].get("annotations", {}) if name.startswith("aurora-operator.io/")]:
        del body["metadata"]["annotations"][name]
    return body


def read(kind, name):
    done = kubectl("get", kind, name, *SPACE, "-o", "json")
    return json.loads(done.stdout) if done.returncode == 0 else None


def degraded(name):
    found = (read("specdep", name) or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == "Degraded"), {})


def make(name, spec):
    body = copy.deepcopy(GOOD) | {"metadata": {"name": name}}
    body["spec"] |= spec
    done = kubectl("apply", "--validate=strict", *SPACE, "-f", "-", stdin=json.dumps(body))
    assert done.returncode == 0, f"{name}: {done.stderr}"
    wait("a job", lambda: read("job", f"{name}-init"), 60)
    prepare(SPACE[1], f"job/{name}-init")
    wait("all is made", lambda: read("job", f"{name}-trainer"), 60)


def is_quiet(operator, seconds=4):
    before = operator.metric(WRITES)
    time.sleep(seconds)
    return operator.metric(WRITES) == before


def at_rest(operator):
    """Writes of a while after the first quiet moment, and reconciles of the same while."""
    wait("a quiet moment", lambda: is_quiet(operator), 60)
    before = {name: operator.metric(name) for name in (WRITES, RECONCILES)}
    lines = operator.metrics()
    time.sleep(REST_SECONDS)
    after = {name: operator.metric(name) for name in (WRITES, RECONCILES)}
    if after[WRITES] != before[WRITES]:
        print(
            "\n".join(line for line in set(operator.metrics().splitlines()) - set(lines.splitlines()) if WRITES in line)
        )
    return after[WRITES] - before[WRITES], after[RECONCILES] - before[RECONCILES]


@pytest.fixture(scope="module", autouse=True)
def space():
    kubectl("create", "namespace", SPACE[1])
    yield
    kubectl("delete", "namespace", SPACE[1], "--wait=false")


@pytest.fixture
def operator(tmp_path):
    log = tmp_path / "log"
    running = Operator(SPACE[1], log)
    yield running
    running.stop()
    print(log.read_text()[-20000:])
    kubectl("delete", "specdep,deploy,job,svc,cm,secret,pvc,pdb", "--all", *SPACE)


def test_no_spelling_is_written_again_and_again(operator):
    for name, spec in SPELLINGS.items():
        make(name, spec)
    writes, reconciles = at_rest(operator)
    assert [name for name in SPELLINGS if degraded(name)["status"] != "False"] == []
    assert reconciles >= len(SPELLINGS)
    assert writes == 0
    print(f"{len(SPELLINGS)} spellings: {writes:.0f} writes in {REST_SECONDS} s, {reconciles:.0f} reconciles")


@pytest.mark.parametrize("change", [meddled, stripped, lambda body: meddled(stripped(body))])
def test_what_webhooks_make_of_it_is_left_as_they_made_it(operator, tmp_path, change):
    webhook = Mutating(
        tmp_path, SPACE[1], change, rule("deployments", "jobs", "services", "configmaps", "poddisruptionbudgets")
    )
    try:
        make("chat", {"serving": {"replicas": 2, "resources": {"limits": {"memory": "1024Mi"}}}})
        job = read("job", "chat-trainer")["metadata"]["uid"]
        writes, _ = at_rest(operator)
        assert (writes, degraded("chat")["status"]) == (0, "False")
        assert read("job", "chat-trainer")["metadata"]["uid"] == job
    finally:
        webhook.stop()


def test_a_webhook_that_comes_later_and_an_operator_that_starts_again_change_nothing(operator, tmp_path):
    make("chat", {})
    webhook = Mutating(tmp_path, SPACE[1], lambda body: meddled(stripped(body)), rule("deployments", "configmaps"))
    again = None
    try:
        kubectl("annotate", "deployment", "chat-engine", *SPACE, "team=a")
        kubectl("patch", "specdep", "chat", *SPACE, "--type=merge", "-p", '{"spec": {"serving": {"replicas": 2}}}')
        wait("replicas", lambda: read("deployment", "chat-engine")["spec"]["replicas"] == 2, 20)
        assert at_rest(operator)[0] == 0
        operator.stop()
        again = Operator(SPACE[1], tmp_path / "again")
        wait("it reconciles", lambda: again.metric(RECONCILES) > 1, 30)
        assert at_rest(again)[0] == 0
    finally:
        webhook.stop()
        if again is not None:
            again.stop()


def test_what_others_add_stays_and_is_no_reason_to_write(operator):
    make("chat", {})
    assert kubectl("rollout", "restart", "deployment/chat-engine", *SPACE).returncode == 0
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "mesh", "image": "mesh/proxy"}]}}}}
    assert kubectl("patch", "deployment", "chat-engine", *SPACE, "-p", json.dumps(sidecar)).returncode == 0
    assert kubectl("patch", "service", "chat", *SPACE, "-p", '{"spec": {"type": "NodePort"}}').returncode == 0
    assert kubectl("label", "configmap", "chat-config", *SPACE, "team=a").returncode == 0
    assert kubectl("annotate", "job", "chat-trainer", *SPACE, "team=a").returncode == 0
    assert at_rest(operator)[0] == 0
    template = read("deployment", "chat-engine")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    assert "mesh" in [one["name"] for one in template["spec"]["containers"]]
    port = read("service", "chat")["spec"]["ports"][0]["nodePort"]
    # Nor by what is applied for another reason.
    kubectl("patch", "specdep", "chat", *SPACE, "--type=merge", "-p", '{"spec": {"serving": {"replicas": 3}}}')
    wait("replicas", lambda: read("deployment", "chat-engine")["spec"]["replicas"] == 3, 20)
    template = read("deployment", "chat-engine")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    assert "mesh" in [one["name"] for one in template["spec"]["containers"]]
    assert read("service", "chat")["spec"]["ports"][0]["nodePort"] == port


def test_a_queue_that_suspends_the_trainer_is_left_alone(operator):
    make("chat", {})
    for value in ("true", "false", "true"):
        kubectl("patch", "job", "chat-trainer", *SPACE, "-p", f'{{"spec": {{"suspend": {value}}}}}')
        assert is_quiet(operator)
    assert read("job", "chat-trainer")["spec"]["suspend"] is True


def test_who_fights_over_a_field_is_named_and_not_fought(operator):
    make("chat", {})
    for _ in range(5):
        kubectl("scale", "deployment/chat-engine", *SPACE, "--replicas=7")
        if degraded("chat").get("reason") == "FieldContested":
            break
        wait("put back, or noticed",
             lambda: read("deployment", "chat-engine")["spec"]["replicas"] == 1
             or degraded("chat").get("reason") == "FieldContested", 20)  # fmt: skip
    wait("noticed", lambda: degraded("chat").get("reason") == "FieldContested", 20)
    kubectl("scale", "deployment/chat-engine", *SPACE, "--replicas=7")
    assert degraded("chat")["message"].startswith("Deployment settling/chat-engine: kubectl sets spec.replicas, again")
    assert operator.metric("aurora_operator_contested_objects") == 1
    assert at_rest(operator)[0] == 0
    assert read("deployment", "chat-engine")["spec"]["replicas"] == 7
    # What the resource's owner changes is done at once.
    kubectl("patch", "specdep", "chat", *SPACE, "--type=merge", "-p", '{"spec": {"serving": {"replicas": 2}}}')
    wait("replicas", lambda: read("deployment", "chat-engine")["spec"]["replicas"] == 2, 10)
