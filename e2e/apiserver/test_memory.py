"""What others store in the cluster does not fill the operator's memory."""

import json

import pytest
from apiserver_support import GOOD, kubectl, read
from host import wait
from kubernetes import client, config
from operated import Operator

pytestmark = pytest.mark.exclusive

SPACE = "crowded"
LABELS = {"app.kubernetes.io/managed-by": "aurora-operator", "app.kubernetes.io/instance": "chat"}
COUNT, LARGE = 350, 1_000_000
LIMIT_MIB = 150


def config_map(number, labels):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"large-{number:04d}", "namespace": SPACE, "labels": labels},
        "data": {"x": "x" * LARGE},
    }


def service(number):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"foreign-{number:04d}", "namespace": SPACE, "annotations": {"x": "x" * 200_000}},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    }


@pytest.fixture(scope="module")
def crowd():
    """ConfigMaps of a megabyte each, half of them under the operator's own label, and large Services without it."""
    kubectl("create", "namespace", SPACE)
    config.load_kube_config()
    api = client.CoreV1Api()
    for number in range(COUNT):
        api.create_namespaced_config_map(SPACE, config_map(number, LABELS if number % 2 else {}))
        api.create_namespaced_service(SPACE, service(number))
    yield
    kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.mark.usefixtures("crowd")
def test_large_objects_of_others_leave_the_operator_small(tmp_path):
    # Every namespace is watched, as the chart installs it.
    running = Operator.start("", tmp_path / "log")
    try:
        body = GOOD | {"metadata": {"name": "small", "namespace": "default"}}
        assert kubectl("apply", "-f", "-", stdin=json.dumps(body)).returncode == 0
        wait("a job", lambda: read("default", "job", "small-init"), 60)
        wait("it reconciles", lambda: running.metric("aurora_operator_reconcile_seconds_count") >= 3, 60)
        print(f"peak of resident memory: {running.peak_mib():.0f} MiB")
        assert running.peak_mib() <= LIMIT_MIB
    finally:
        running.stop()
        kubectl("delete", "specdep", "small", "-n", "default")
