"""Mode Online on a real API server with KubeRay's own CRDs, without KubeRay's operator."""

import json
from pathlib import Path

import pytest
from apiserver_support import GOOD, kubectl
from aurora_operator.api.spec import Spec
from aurora_operator.render import ray, serving
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.network import NetworkPeers, policies
from host import build, wait
from workshop.build import KUBERAY

IMAGES = Images("registry.example.org/engine:1", "registry.example.org/trainer:1")
PEERS = NetworkPeers(operator=({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "aurora-operator"}}},))
SPECS = [
    {},
    {"suspend": True, "training": {"queueName": "night"}},
    {
        "serving": {"replicas": 4, "tensorParallelSize": 8, "podTemplate": {"spec": {"nodeSelector": {"gpu": "h100"}}}},
        "training": {"gpuResource": "nvidia.com/mig-1g.10gb", "resources": {"limits": {"memory": "64Gi"}}},
        "weights": {"signing": {"secretName": "signing"}},
    },
]


@pytest.fixture(scope="module")
def crds():
    folder = Path(build("KubeRay", 60, KUBERAY)) / "crd"
    done = kubectl("apply", "--server-side", "-f", str(folder))
    assert done.returncode == 0, done.stderr
    established = ("wait", "--for=condition=Established", "crd/rayclusters.ray.io", "--timeout=5s")
    wait("KubeRay's CRDs", lambda: kubectl(*established).returncode == 0, 60)
    yield folder
    kubectl("delete", "--wait=false", "-f", str(folder))


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_kuberay_s_schema_has_every_field_of_what_is_rendered(spec):
    made = Spec.model_validate(GOOD["spec"] | spec).model_copy(update={"mode": "Online"})
    resource = Resource("a" * 40, "default", "5e6a2f3e-0000-4000-8000-000000000000", made)
    items = [*policies(resource, PEERS), ray.cluster(resource, IMAGES, "stamp"), serving.disruption_budget(resource)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item for item in items if item]})
    done = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr
