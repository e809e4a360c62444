"""What Argo CD and Flux go by, on a real API server: whose the claim is, and the condition Ready."""

import json
import secrets

import pytest
from apiserver_support import GOOD, kubectl, read
from host import wait
from operated import Operator, prepare

INSTANCE = "app.kubernetes.io/instance"
MADE = "deploy,job,svc,cm,secret,pvc,pdb"


@pytest.fixture
def namespace():
    name = f"gitops-{secrets.token_hex(4)}"
    assert kubectl("create", "namespace", name).returncode == 0
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(autouse=True)
def operator(namespace, tmp_path):
    log = tmp_path / "log"
    running = Operator.start(namespace, log)
    yield running
    running.stop()
    print(log.read_text()[-20000:])


def ready(namespace):
    found = (read(namespace, "specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == "Ready"), {})


def make(namespace):
    body = GOOD | {"metadata": {"name": "chat", "namespace": namespace}}
    assert kubectl("apply", "--validate=strict", "-f", "-", stdin=json.dumps(body)).returncode == 0
    wait("a job", lambda: read(namespace, "job", "chat-init"), 60)


def test_nothing_that_a_tracking_label_finds_is_without_an_owner(namespace):
    make(namespace)
    prepare(namespace, "job/chat-init")
    wait("all is made", lambda: read(namespace, "job", "chat-trainer"), 60)
    found = kubectl("get", MADE, "-n", namespace, "-l", f"{INSTANCE}=chat", "-o", "json")
    tracked = json.loads(found.stdout)["items"]
    assert len(tracked) > 5
    assert [one["metadata"]["name"] for one in tracked if not one["metadata"].get("ownerReferences")] == []
    claim = read(namespace, "persistentvolumeclaim", "chat-weights")["metadata"]
    assert claim["labels"]["aurora-operator.io/speculator"] == "chat"
    assert claim["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    assert claim["annotations"]["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_a_claim_of_before_loses_the_label_and_nothing_else(namespace):
    labels = {"app.kubernetes.io/name": "aurora", INSTANCE: "chat", "app.kubernetes.io/component": "weights"}
    labels["app.kubernetes.io/managed-by"] = "aurora-operator"
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "chat-weights", "namespace": namespace, "labels": labels},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "20Gi"}}}}  # fmt: skip
    applied = ("apply", "--server-side", "--field-manager=aurora-operator", "-f", "-")
    done = kubectl(*applied, stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr
    uid = read(namespace, "persistentvolumeclaim", "chat-weights")["metadata"]["uid"]
    make(namespace)
    wait(
        "relabelled",
        lambda: INSTANCE not in read(namespace, "persistentvolumeclaim", "chat-weights")["metadata"]["labels"],
        30,
    )
    claim = read(namespace, "persistentvolumeclaim", "chat-weights")["metadata"]
    assert (claim["uid"], claim["labels"]["aurora-operator.io/speculator"]) == (uid, "chat")


def test_ready_has_the_generation_that_it_is_about_and_kubectl_waits_for_it(namespace):
    make(namespace)
    wait("a condition", lambda: ready(namespace).get("reason") == "Preparing", 30)
    prepare(namespace, "job/chat-init")
    wait("the next one", lambda: ready(namespace).get("reason") == "EngineStarting", 30)
    patch = json.dumps({"spec": {"serving": {"replicas": 2}}})
    assert kubectl("patch", "specdep", "chat", "-n", namespace, "--type=merge", "-p", patch).returncode == 0

    def seen():
        body = read(namespace, "specdep", "chat")
        generation = body["metadata"]["generation"]
        return (
            generation > 1
            and ready(namespace)["observedGeneration"] == generation == body["status"]["observedGeneration"]
        )

    wait("observed", seen, 30)
    condition = ("wait", "--for=condition=Ready=false", "specdep/chat", "-n", namespace, "--timeout=10s")
    assert kubectl(*condition).returncode == 0


def test_the_spec_stays_as_it_is_in_git(namespace):
    make(namespace)
    prepare(namespace, "job/chat-init")
    wait("all is made", lambda: read(namespace, "job", "chat-trainer"), 60)
    body = GOOD | {"metadata": {"name": "chat", "namespace": namespace}}
    done = kubectl("diff", "-f", "-", stdin=json.dumps(body))
    assert (done.returncode, done.stdout) == (0, "")
