"""A real API server with the CRD; the cluster is whatever KUBECONFIG names (e2e/cluster/node.py, kind, ...)."""

import pytest
from apiserver_support import ROOT, kubectl
from host import wait


def pytest_addoption(parser):
    parser.addoption("--rest-seconds", type=int, default=20, help="of watching that settled resources write nothing")


@pytest.fixture(scope="session", autouse=True)
def crd():
    done = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    assert done.returncode == 0, done.stderr
    # `kubectl wait` itself fails while the CRD has no status at all.
    condition = ("wait", "--for=condition=Established", "crd/speculatordeployments.aurora-operator.io", "--timeout=5s")
    wait("the CRD", lambda: kubectl(*condition).returncode == 0, 60)
