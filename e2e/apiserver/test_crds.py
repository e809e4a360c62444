"""The CustomResourceDefinition comes late, goes back a version, and outlives its release."""

import json
import secrets
import subprocess
import urllib.error

import apiserver_support
import pytest
import yaml
from apiserver_support import GOOD, ROOT, helm, kubectl, with_the_charts_role
from host import wait
from operated import Operator, prepare

pytestmark = pytest.mark.exclusive
SPACE, NAME = f"defined-{secrets.token_hex(4)}", "speculatordeployments.aurora-operator.io"
"""A namespace of its own: without controllers one that is deleted never goes."""
CRD = ROOT / "crds" / "speculatordeployments.yaml"
STABLE = {"version": 4, "steps": 3, "since": "2026-01-01T12:00:00Z", "previous": 2, "previousSteps": 3, "digest": ""}
CHART = str(ROOT / "charts" / "aurora-operator")


def there(kind, name):
    return apiserver_support.read(SPACE, kind, name)


def condition(kind):
    found = (there("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def define(body=None):
    text = CRD.read_text() if body is None else yaml.safe_dump(body)
    done = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    established = ("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=5s")
    wait("the CRD", lambda: kubectl(*established).returncode == 0, 60)


def apply(spec):
    body = GOOD | {"metadata": {"name": "chat", "namespace": SPACE}, "spec": GOOD["spec"] | spec}
    return kubectl("apply", "-f", "-", stdin=json.dumps(body))


def older():
    """The definition of a version that knew neither queues nor a switch of training."""
    body = yaml.safe_load(CRD.read_text())
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for part, name in (("training", "queueName"), ("serving", "gpuResource")):
        del spec[part]["properties"][name]
        spec[part].pop("x-kubernetes-validations", None)
    return body


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    """Started under the chart's Role where there is no definition yet; at the end there is one for others."""
    kubectl("create", "namespace", SPACE)
    kubeconfig = with_the_charts_role(SPACE, tmp_path_factory.mktemp("defined") / "config")
    assert kubectl("delete", "crd", NAME, "--timeout=60s").returncode == 0
    log = tmp_path_factory.mktemp("operator") / "log"
    lease = {"LEASE": "aurora", "LEASE_NAMESPACE": SPACE}
    running = Operator.start(SPACE, log, environment={"KUBECONFIG": str(kubeconfig)}, **lease)
    waits = "waiting for the CustomResourceDefinition"
    wait("it waits for the definition", lambda: waits in log.read_text(), 30)
    yield running
    running.stop()
    print(log.read_text())
    define()
    kubectl("delete", "namespace", SPACE, "--wait=false")


def test_a_definition_that_comes_after_the_operator_is_noticed(operator):
    with pytest.raises(urllib.error.URLError):
        operator.metrics()
    define()
    wait("it is taken", lambda: apply({"training": {"queueName": "night"}}).returncode == 0, 20)
    wait("a job", lambda: there("job", "chat-init"), 30)
    prepare(SPACE, "job/chat-init")
    patch = json.dumps({"status": {"stable": STABLE, "decided": 4}})
    done = kubectl("patch", "specdep", "chat", "-n", SPACE, "--subresource=status", "--type=merge", "-p", patch)
    assert done.returncode == 0, done.stderr
    wait("all is made", lambda: there("job", "chat-trainer"), 20)


def test_an_older_definition_costs_its_fields_and_nothing_else(operator):
    """Given a resource with a field of today, when the definition of yesterday is applied, then all else continues."""
    define(older())
    wait("the field is gone", lambda: "queueName" not in there("specdep", "chat")["spec"]["training"], 20)
    assert apply({"training": {"queueName": "night"}}).returncode != 0
    assert apply({"serving": {"replicas": 3}}).returncode == 0
    wait("it is applied", lambda: there("deployment", "chat-engine")["spec"]["replicas"] == 3, 20)
    assert there("specdep", "chat")["status"]["stable"]["version"] == 4
    assert condition("Degraded")["reason"] == "AsExpected"
    define()
    assert apply({"serving": {"replicas": 3}, "training": {"queueName": "night"}}).returncode == 0
    queue = "kueue.x-k8s.io/queue-name"
    wait("it queues again", lambda: (there("job", "chat-trainer") or {"metadata": {"labels": {}}})["metadata"]["labels"]
         .get(queue) == "night", 20)  # fmt: skip
    assert there("specdep", "chat")["status"]["stable"]["version"] == 4
    assert operator.alive()


def test_another_release_takes_the_definition_over_with_take_ownership(operator):
    """Given a release that is gone, when one of another name comes, then Helm says whose the definition is."""
    assert operator.alive()
    kubectl("delete", "crd", NAME, "--timeout=60s")
    install = (
        "install",
        "--namespace",
        SPACE,
        "--set",
        f"watchNamespaces={{{SPACE}}},serviceAccount.name=of-a-release",
    )
    first = helm(*install, "first", CHART)
    assert first.returncode == 0, first.stderr
    wait("it is taken", lambda: apply({}).returncode == 0, 20)
    uid = there("specdep", "chat")["metadata"]["uid"]
    assert helm("uninstall", "first", "--namespace", SPACE).returncode == 0
    try:
        refused = helm(*install, "second", CHART)
        assert refused.returncode != 0
        assert f'CustomResourceDefinition "{NAME}"' in refused.stderr
        assert 'must equal "second"' in refused.stderr
        taken = helm(*install, "second", CHART, "--take-ownership")
        assert taken.returncode == 0, taken.stderr
        assert there("specdep", "chat")["metadata"]["uid"] == uid
    finally:
        subprocess.run(["helm", "uninstall", "second", "--namespace", SPACE], check=False, capture_output=True)
    assert there("specdep", "chat")["metadata"]["uid"] == uid
