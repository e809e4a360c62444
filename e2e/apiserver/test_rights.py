"""The operator with nothing but the chart's Role in one namespace, and a CRD that comes after it."""

import json
import subprocess

import pytest
import yaml
from apiserver_support import GOOD, ROOT, kubectl, read
from host import wait
from operated import Operator, prepare

SPACE = "ruled"
KINDS = {"ServiceAccount", "Role", "RoleBinding"}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory):
    """Of the chart's service account, with its Roles and nothing else of the chart."""
    kubectl("create", "namespace", SPACE)
    values = ("--namespace", SPACE, "--kube-version", "1.34.0", "--set", f"watchNamespaces={{{SPACE}}}")
    chart = str(ROOT / "charts" / "aurora-operator")
    text = subprocess.run(
        ["helm", "template", "aurora", chart, *values], check=True, capture_output=True, text=True
    ).stdout
    bodies = [body for body in yaml.safe_load_all(text) if body and body["kind"] in KINDS]
    done = kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(bodies))
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten").stdout)
    token = kubectl("create", "token", "aurora", "-n", SPACE).stdout.strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path_factory.mktemp("rights") / "config"
    path.write_text(yaml.safe_dump(config))
    yield path
    kubectl("delete", "namespace", SPACE, "--wait=false")


def there(kind, name):
    return read(SPACE, kind, name)


def test_the_chart_s_role_is_enough(kubeconfig, tmp_path):
    log = tmp_path / "log"
    lease = {"LEASE": "aurora", "LEASE_NAMESPACE": SPACE}
    running = Operator(SPACE, log, environment={"KUBECONFIG": str(kubeconfig)}, **lease)
    try:
        body = GOOD | {"metadata": {"name": "chat"}}
        body["spec"] = body["spec"] | {"serving": {"replicas": 2}}
        assert kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
        wait("the job", lambda: there("job", "chat-init"), 30)
        prepare(SPACE, "job/chat-init")
        for kind, name in (
            ("deployment", "chat-engine"),
            ("job", "chat-trainer"),
            ("poddisruptionbudget", "chat-engine"),
            ("service", "chat"),
        ):
            wait(kind, lambda kind=kind, name=name: there(kind, name), 30)
        kubectl("delete", "configmap", "chat-desired", "-n", SPACE)
        wait("its repair", lambda: there("configmap", "chat-desired"), 10)
        assert running.metric("aurora_operator_watch_failures_total") == 0
        assert "forbidden" not in log.read_text()
    finally:
        running.stop()
        print(log.read_text())
