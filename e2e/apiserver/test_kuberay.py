"""Mode Online on a real API server with KubeRay's own CRDs, without KubeRay's operator."""

import json
import secrets
from pathlib import Path

import apiserver_support
import pytest
import yaml
from apiserver_support import GOOD, apply, kubectl
from aurora_operator.api.spec import Spec
from aurora_operator.render import ray, serving
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.network import NetworkPeers, policies
from host import build, wait
from operated import Operator, prepare
from workshop.build import KUBERAY

ONLINE = {"mode": "Online", "samples": {"transport": "Ray"}}
IMAGES = Images("registry.example.org/engine:1", "registry.example.org/trainer:1")
PEERS = NetworkPeers(operator=({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "aurora-operator"}}},))
READY = {"status": "True", "reason": "Failed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
SPECS = [
    {},
    {"suspend": True, "training": {"queueName": "night"}},
    {"training": {"nodes": 2, "gpus": 4}},
    {
        "serving": {"replicas": 4, "tensorParallelSize": 8, "podTemplate": {"spec": {"nodeSelector": {"gpu": "h100"}}}},
        "training": {"gpuResource": "nvidia.com/mig-1g.10gb", "resources": {"limits": {"memory": "64Gi"}}},
        "weights": {"signing": {"secretName": "signing"}},
    },
]


REFUSED = [
    ({"training": {"device": "cpu"}}, "engines and trainer compute on the same"),
    ({"samples": {}}, "samples.transport Ray is that of mode Online"),
    ({"mode": "ExternalWithoutDraft"}, "samples.transport Ray is that of mode Online"),
    ({"serving": {"port": 6400}}, "Ray listens at 6379 to 6499"),
    ({"draft": {"topK": 2, "numDraftTokens": 8}}, "needs draft.topK 1"),
]
SPACE = f"kuberay-{secrets.token_hex(4)}"
RAYCLUSTERS = "rayclusters.ray.io"


def established():
    command = ("wait", "--for=condition=Established", f"crd/{RAYCLUSTERS}", "--timeout=5s")
    wait("KubeRay's CRDs", lambda: kubectl(*command).returncode == 0, 60)


@pytest.fixture(scope="module")
def folder():
    """Of KubeRay's CRDs, which are not in the cluster yet."""
    folder = Path(build("KubeRay", 60, KUBERAY)) / "crd"
    yield folder
    kubectl("delete", "--wait=false", "-f", str(folder))


@pytest.fixture(scope="module")
def crds(folder):
    done = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
    assert done.returncode == 0, done.stderr
    established()


def old(folder):
    """A definition of RayClusters that lacks a field, as one of before would."""
    body = yaml.safe_load((folder / "ray.io_rayclusters.yaml").read_text())
    for version in body["spec"]["versions"]:
        head = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["headGroupSpec"]
        head["properties"].pop("rayStartParams")
        head["required"] = [name for name in head["required"] if name != "rayStartParams"]
    return json.dumps(body)


def read(kind, name):
    return apiserver_support.read(SPACE, kind, name)


def cluster():
    done = kubectl("get", RAYCLUSTERS, "chat-ray", "-n", SPACE, "-o", "json")
    return json.loads(done.stdout) if done.returncode == 0 else None


def reason(kind):
    found = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one["reason"] for one in found if one["type"] == kind), "")


def desire(**spec):
    done = kubectl("patch", "specdep", "chat", "-n", SPACE, "--type=merge", "-p", json.dumps({"spec": spec}))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    kubectl("create", "namespace", SPACE)
    log = tmp_path_factory.mktemp("kuberay") / "log"
    running = Operator.start(SPACE, log)
    body = GOOD | {"metadata": {"name": "chat"}, "spec": GOOD["spec"] | ONLINE}
    done = kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr
    wait("a job", lambda: read("job", "chat-init"), 20)
    yield running
    running.stop()
    print(log.read_text())
    kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.mark.usefixtures("operator")
def test_kuberay_that_is_missing_or_too_old_is_reported_until_it_is_there(folder):
    wait("missing", lambda: reason("RayReady") == "KubeRayMissing", 20)
    prepare(SPACE, "job/chat-init")
    wait("no service for nothing", lambda: reason("Available") == "KubeRayMissing", 20)
    assert kubectl("apply", "--server-side", "-f", "-", stdin=old(folder)).returncode == 0
    established()
    wait("too old", lambda: reason("RayReady") == "KubeRayTooOld", 40)
    assert cluster() is None


@pytest.mark.usefixtures("operator", "crds")
def test_the_cluster_is_made_and_followed_and_suspending_leaves_what_serves():
    wait("a cluster", cluster, 40)
    made = cluster()
    assert read("deployment", "chat-engine") is None
    assert read("job", "chat-trainer") is None
    status = {"status": {"conditions": [{**READY, "type": "ReplicaFailure", "message": "no quota"}]}}
    done = kubectl(
        "patch", RAYCLUSTERS, "chat-ray", "-n", SPACE, "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    assert done.returncode == 0, done.stderr
    wait("failing", lambda: reason("RayReady") == "HeadFailing", 30)
    desire(suspend=True)
    wait("no trainer", lambda: cluster()["spec"]["workerGroupSpecs"][1]["replicas"] == 0, 20)
    assert cluster()["metadata"]["uid"] == made["metadata"]["uid"]
    desire(suspend=False, serving={"threads": 2})
    wait("trainer", lambda: cluster()["spec"]["workerGroupSpecs"][1]["replicas"] == 1, 20)
    # What processes read is followed by the driver; only other pods are another cluster.
    assert cluster()["metadata"]["uid"] == made["metadata"]["uid"]
    desire(serving={"image": "none/other"})
    wait("another cluster", lambda: (cluster() or made)["metadata"]["uid"] != made["metadata"]["uid"], 40)
    wait("reported", lambda: reason("Degraded") == "AsExpected", 30)


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_mode_online_cannot_do_is_refused_with_what_to_do(change, message):
    body = GOOD | {"spec": GOOD["spec"] | ONLINE | change}
    done = apply(body, "--dry-run=server")
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_kuberay_s_schema_has_every_field_of_what_is_rendered(spec):
    made = Spec.model_validate(GOOD["spec"] | ONLINE | spec)
    resource = Resource("a" * 40, "default", "5e6a2f3e-0000-4000-8000-000000000000", made)
    items = [*policies(resource, PEERS), ray.cluster(resource, IMAGES, "stamp"), serving.disruption_budget(resource)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item for item in items if item]})
    done = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr
