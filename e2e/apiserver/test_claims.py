"""Claims as a real API server takes them: one for one node, one that grows, and one whose class lets none grow."""

import json

import apiserver_support
import pytest
from apiserver_support import GOOD, kubectl
from host import wait
from operated import Operator, prepare

SPACE = "stored"
CLASSES = {"stored-grows": True, "stored-fixed": False}


def read(kind, name):
    return apiserver_support.read(SPACE, kind, name)


def condition(name, kind):
    found = (read("specdep", name) or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def template(kind, size):
    return {"weights": {"template": {"storageClassName": kind, "size": size, "accessMode": "ReadWriteOnce"}}}


def size_of(name):
    return read("persistentvolumeclaim", f"{name}-weights")["spec"]["resources"]["requests"]["storage"]


def patch(name, spec):
    done = kubectl("patch", "specdep", name, "-n", SPACE, "--type=merge", "-p", json.dumps({"spec": spec}))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", autouse=True)
def operator(tmp_path_factory):
    """Two resources whose claims are bound, each of its own class."""
    kubectl("create", "namespace", SPACE)
    for name, grows in CLASSES.items():
        body = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
        done = kubectl(
            "apply",
            "-f",
            "-",
            stdin=json.dumps(body | {"provisioner": "csi.example.com", "allowVolumeExpansion": grows}),
        )
        assert done.returncode == 0, done.stderr
    log = tmp_path_factory.mktemp("operator") / "log"
    running = Operator.start(SPACE, log)
    for name in ("grows", "fixed"):
        spec = GOOD["spec"] | template(f"stored-{name}", "20Gi") | {"serving": {"replicas": 2}}
        body = GOOD | {"metadata": {"name": name, "namespace": SPACE}, "spec": spec}
        assert kubectl("apply", "-f", "-", stdin=json.dumps(body)).returncode == 0
    for name in ("grows", "fixed"):
        wait("a claim", lambda name=name: read("persistentvolumeclaim", f"{name}-weights"), 20)
        bound = json.dumps({"status": {"phase": "Bound", "capacity": {"storage": "20Gi"}}})
        done = kubectl("patch", "pvc", f"{name}-weights", "-n", SPACE, "--subresource=status", "-p", bound)
        assert done.returncode == 0, done.stderr
    wait("a job", lambda: read("job", "grows-init"), 20)
    prepare(SPACE, "job/grows-init")
    yield running
    running.stop()
    print(log.read_text())
    kubectl("delete", "namespace", SPACE, "--wait=false")
    kubectl("delete", "storageclass", *CLASSES)


def test_pods_of_one_node_have_no_budget_that_a_drain_would_wait_for():
    wait("engines", lambda: read("deployment", "grows-engine"), 20)
    wait("all is made", lambda: read("job", "grows-trainer"), 20)
    assert read("poddisruptionbudget", "grows-engine") is None
    (term,) = read("deployment", "grows-engine")["spec"]["template"]["spec"]["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    release = {"app.kubernetes.io/instance": "grows", "app.kubernetes.io/name": "postgresql"}
    assert not term["labelSelector"]["matchLabels"].items() <= release.items()
    assert read("service", "grows")["spec"]["ipFamilyPolicy"] == "PreferDualStack"


def test_a_claim_grows_with_its_template_where_its_class_lets_it():
    patch("grows", template("stored-grows", "40Gi"))
    patch("fixed", template("stored-fixed", "40Gi"))
    wait("it grows", lambda: size_of("grows") == "40Gi", 20)
    assert condition("grows", "Degraded")["reason"] == "AsExpected"
    wait("it is refused", lambda: condition("fixed", "Degraded").get("reason") == "ApplyRefused", 20)
    assert "fixed-weights" in condition("fixed", "Degraded")["message"]
    assert "must support resize" in condition("fixed", "Degraded")["message"]
    assert size_of("fixed") == "20Gi"


def test_what_the_storage_says_of_growing_is_in_the_condition():
    at = {"type": "FileSystemResizePending", "status": "True"}
    status = {"status": {"conditions": [at | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    kubectl("patch", "pvc", "grows-weights", "-n", SPACE, "--subresource=status", "-p", json.dumps(status))
    wait("reported", lambda: condition("grows", "StorageReady").get("reason") == "Growing", 20)
    assert "of 20Gi grows to 40Gi" in condition("grows", "StorageReady")["message"]


def test_a_claim_that_is_deleted_while_pods_use_it_is_reported():
    held = json.dumps({"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}})
    kubectl("patch", "pvc", "fixed-weights", "-n", SPACE, "-p", held)
    kubectl("delete", "pvc", "fixed-weights", "-n", SPACE, "--wait=false")
    wait("reported", lambda: condition("fixed", "StorageReady").get("reason") == "ClaimDeleted", 20)
    kubectl("patch", "pvc", "fixed-weights", "-n", SPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
