"""A real API server with the CRD; the cluster is whatever KUBECONFIG names (e2e/cluster/node.py, kind, ...)."""

import copy
import json
import subprocess
from pathlib import Path

import pytest
from host import wait

ROOT = Path(__file__).parents[2]
GOOD = {
    "apiVersion": "aurora-operator.io/v1alpha1",
    "kind": "SpeculatorDeployment",
    "metadata": {"name": "chat", "namespace": "default"},
    "spec": {
        "mode": "ExternalWithoutDraft",
        "target": {"model": "org/model"},
        "promotion": {"prometheus": {"url": "http://prometheus.monitoring.svc:9090"}},
    },
}


def kubectl(*arguments, stdin=None):
    return subprocess.run(["kubectl", *arguments], input=stdin, check=False, capture_output=True, text=True)


def changed(path, value):
    """GOOD with one field set; None removes it."""
    body = copy.deepcopy(GOOD)
    at = body
    *way, last = path.split(".")
    for step in way:
        at = at.setdefault(step, {})
    if value is None:
        at.pop(last)
    else:
        at[last] = value
    return body


def apply(body, *arguments):
    return kubectl("apply", "--validate=strict", *arguments, "-f", "-", stdin=json.dumps(body))


@pytest.fixture(scope="session", autouse=True)
def crd():
    done = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    assert done.returncode == 0, done.stderr
    # `kubectl wait` itself fails while the CRD has no status at all.
    condition = ("wait", "--for=condition=Established", "crd/speculatordeployments.aurora-operator.io", "--timeout=5s")
    wait("the CRD", lambda: kubectl(*condition).returncode == 0, 60)
