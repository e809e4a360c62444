"""The operator with nothing but the chart's Role in one namespace."""

import json

import pytest
from apiserver_support import GOOD, kubectl, read, with_the_charts_role
from host import wait
from operated import Operator, prepare

SPACE = "ruled"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory):
    kubectl("create", "namespace", SPACE)
    yield with_the_charts_role(SPACE, tmp_path_factory.mktemp("rights") / "config")
    kubectl("delete", "namespace", SPACE, "--wait=false")


def there(kind, name):
    return read(SPACE, kind, name)


def test_the_chart_s_role_is_enough(kubeconfig, tmp_path):
    log = tmp_path / "log"
    lease = {"LEASE": "aurora", "LEASE_NAMESPACE": SPACE}
    running = Operator.start(SPACE, log, environment={"KUBECONFIG": str(kubeconfig)}, **lease)
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
