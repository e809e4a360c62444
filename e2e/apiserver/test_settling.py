"""Whatever spelling a resource has and whatever webhooks make of it, a real operator writes nothing at rest."""

import copy
import json
import secrets
import time

import pytest
from apiserver_support import GOOD, kubectl
from host import wait
from operated import Operator, prepare
from webhook import Mutating, rule

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


class Space:
    """A namespace of its own: without controllers, what has a finalizer never goes."""

    def __init__(self, name):
        self.name = name

    def __call__(self, *arguments, stdin=None):
        done = kubectl("-n", self.name, *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr

    def read(self, kind, name):
        done = kubectl("-n", self.name, "get", kind, name, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def degraded(self, name="chat"):
        found = (self.read("specdep", name) or {}).get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == "Degraded"), {})

    def replicas(self):
        return self.read("deployment", "chat-engine")["spec"]["replicas"]

    def desire(self, **spec):
        self("patch", "specdep", "chat", "--type=merge", "-p", json.dumps({"spec": spec}))

    def make(self, name="chat", **spec):
        body = copy.deepcopy(GOOD) | {"metadata": {"name": name}}
        body["spec"] |= spec
        self("apply", "--validate=strict", "-f", "-", stdin=json.dumps(body))
        wait("a job", lambda: self.read("job", f"{name}-init"), 60)
        prepare(self.name, f"job/{name}-init")
        wait("all is made", lambda: self.read("job", f"{name}-trainer"), 60)


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


@pytest.fixture
def space():
    name = f"settling-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    yield Space(name)
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def operator(space, tmp_path):
    log = tmp_path / "log"
    running = Operator(space.name, log)
    yield running
    if running.alive():
        running.stop()
    print(log.read_text()[-20000:])


def test_no_spelling_is_written_again_and_again(space, operator):
    for name, spec in SPELLINGS.items():
        space.make(name, **spec)
    writes, reconciles = at_rest(operator)
    assert [name for name in SPELLINGS if space.degraded(name)["status"] != "False"] == []
    assert reconciles >= len(SPELLINGS)
    assert writes == 0
    print(f"{len(SPELLINGS)} spellings: {writes:.0f} writes in {REST_SECONDS} s, {reconciles:.0f} reconciles")


def both(body):
    return meddled(stripped(body))


@pytest.mark.parametrize("change", [meddled, stripped, both])
def test_what_webhooks_make_of_it_is_left_as_they_made_it(space, operator, tmp_path, change):
    kinds = ("deployments", "jobs", "services", "configmaps", "poddisruptionbudgets")
    webhook = Mutating(tmp_path, space.name, change, rule(*kinds))
    try:
        space.make(serving={"replicas": 2, "resources": {"limits": {"memory": "1024Mi"}}})
        job = space.read("job", "chat-trainer")["metadata"]["uid"]
        writes, _ = at_rest(operator)
        assert (writes, space.degraded()["status"]) == (0, "False")
        assert space.read("job", "chat-trainer")["metadata"]["uid"] == job
    finally:
        webhook.stop()


def test_a_webhook_that_comes_later_and_an_operator_that_starts_again_change_nothing(space, operator, tmp_path):
    space.make()
    webhook = Mutating(tmp_path, space.name, both, rule("deployments", "configmaps"))
    again = None
    try:
        space("annotate", "deployment", "chat-engine", "team=a")
        space.desire(serving={"replicas": 2})
        wait("replicas", lambda: space.replicas() == 2, 20)
        assert at_rest(operator)[0] == 0
        operator.stop()
        again = Operator(space.name, tmp_path / "again")
        wait("it reconciles", lambda: reconciles(again) > 1, 60)
        assert at_rest(again)[0] == 0
    finally:
        webhook.stop()
        if again is not None:
            again.stop()


def reconciles(operator):
    try:
        return operator.metric(RECONCILES)
    except OSError:
        # It does not listen yet.
        return 0


def test_what_others_add_stays_and_is_no_reason_to_write(space, operator):
    space.make()
    space("rollout", "restart", "deployment/chat-engine")
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "mesh", "image": "mesh/proxy"}]}}}}
    space("patch", "deployment", "chat-engine", "-p", json.dumps(sidecar))
    space("patch", "service", "chat", "-p", '{"spec": {"type": "NodePort"}}')
    space("label", "configmap", "chat-config", "team=a")
    space("annotate", "job", "chat-trainer", "team=a")

    def kept():
        template = space.read("deployment", "chat-engine")["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
        assert "mesh" in [one["name"] for one in template["spec"]["containers"]]
        return space.read("service", "chat")["spec"]["ports"][0]["nodePort"]

    assert at_rest(operator)[0] == 0
    port = kept()
    # Nor is it touched by what is applied for another reason.
    space.desire(serving={"replicas": 3})
    wait("replicas", lambda: space.replicas() == 3, 20)
    assert kept() == port


def test_a_queue_that_suspends_the_trainer_is_left_alone(space, operator):
    space.make()
    for value in ("true", "false", "true"):
        space("patch", "job", "chat-trainer", "-p", f'{{"spec": {{"suspend": {value}}}}}')
        wait("a quiet moment", lambda: is_quiet(operator), 20)
        assert space.read("job", "chat-trainer")["spec"]["suspend"] is (value == "true")


def test_who_fights_over_a_field_is_named_and_not_fought(space, operator):
    space.make()

    def noticed():
        return space.degraded().get("reason") == "FieldContested"

    for _ in range(5):
        space("scale", "deployment/chat-engine", "--replicas=7")
        wait("put back, or noticed", lambda: space.replicas() == 1 or noticed(), 20)
        if noticed():
            break
    wait("noticed", noticed, 20)
    space("scale", "deployment/chat-engine", "--replicas=7")
    message = space.degraded()["message"]
    assert message.startswith(f"Deployment {space.name}/chat-engine: kubectl sets spec.replicas, again and again")
    assert operator.metric("aurora_operator_contested_objects") == 1
    assert at_rest(operator)[0] == 0
    assert space.replicas() == 7
    # What the resource's owner changes is done at once.
    space.desire(serving={"replicas": 2})
    wait("replicas", lambda: space.replicas() == 2, 10)
