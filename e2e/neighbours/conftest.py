"""The operator with real controllers of others, on an API server whose network is this process's own."""

import subprocess

import pytest
from host import build, wait
from kueue_support import KUEUE, SPACE, Kueue
from neighbour_support import BUILD, ROOT, controllers, kubectl, module, tried


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """With this project's definitions, Kubernetes' controllers, and no node."""
    # On a machine that does other work too one write of it may take longer than the server waits.
    apply = ("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    wait("the definition", lambda: tried(*apply).returncode == 0, 180)
    condition = ("wait", "--for=condition=Established", "crd/speculatordeployments.aurora-operator.io", "--timeout=5s")
    wait("the CRD", lambda: tried(*condition).returncode == 0, 60)
    running = controllers(tmp_path_factory.mktemp("controllers"))
    wait("service accounts", lambda: tried("get", "serviceaccount", "default").returncode == 0, 60, state=running.tail)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def kueue(cluster, tmp_path_factory):
    """Installed by its chart; its manager is a process of this test."""
    cluster.lives()
    folder = tmp_path_factory.mktemp("kueue")
    program, chart = build(KUEUE[0], 900, BUILD, *KUEUE), module(KUEUE[0]) / "charts" / "kueue"
    command = ("helm", "upgrade", "--install", "kueue", str(chart), "--namespace", SPACE, "--create-namespace")
    subprocess.run(command, check=True, capture_output=True)
    # Nobody answers for them here, and a namespace ends only where all APIs answer.
    kubectl(
        "delete",
        "--ignore-not-found",
        "apiservices",
        "v1beta1.visibility.kueue.x-k8s.io",
        "v1beta2.visibility.kueue.x-k8s.io",
    )
    made = Kueue(folder, program)
    made.start()
    yield made
    made.remove()
