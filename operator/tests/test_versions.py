"""All that the operator makes is what Kubernetes 1.31 to 1.37 know, unknown fields refused."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from aurora_operator.api.spec import Spec
from operator_support import a_spec, settled

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart.yaml"
TEMPLATE = {
    "metadata": {"labels": {"team": "search"}, "annotations": {"sidecar.istio.io/inject": "false"}},
    "spec": {
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "serving",
        "runtimeClassName": "nvidia",
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
        "containers": [
            {
                "name": "engine",
                "env": [{"name": "NCCL_DEBUG", "value": "WARN"}],
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            }
        ],
    },
}
SPECS = {
    "as little as possible": a_spec(),
    "the quickstart": Spec.model_validate(yaml.safe_load(EXAMPLE.read_text())["spec"]),
    "GPUs": a_spec(
        mode="ExternalWithDraft",
        target={
            "model": "/model/target",
            "volume": {"claimName": "models", "subPath": "llama"},
            "tokenSecret": {"name": "huggingface", "key": "token"},
        },
        draft={"checkpoint": "/model/draft"},
        serving={
            "replicas": 4,
            "tensorParallelSize": 4,
            "resources": {"requests": {"cpu": "8", "memory": "64Gi"}, "limits": {"memory": "128Gi"}},
            "apiKeySecret": {"name": "api", "key": "key"},
            "podTemplate": TEMPLATE,
        },
        training={"gpus": 1},
        weights={"claimName": "shared"},
    ),
    "samples through Mooncake": a_spec(
        samples={
            "transport": "Mooncake",
            "mooncakeMaster": "mooncake.storage:50051",
            "mooncakeMetadata": "http://mooncake.storage:8080/metadata",
        }
    ),
    "suspended": a_spec(suspend=True),
}


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(31, 38)])
@pytest.mark.parametrize("name", SPECS)
def test_kubernetes_knows_every_field(name, version):
    _, children = settled(SPECS[name])
    assert {"Deployment", "Job", "Service", "ConfigMap"} <= {child["kind"] for child in children}
    for child in children:
        made = {part: value for part, value in child.items() if part != "status"}
        assert kubernetes_validate.validate(made, version, strict=True) == version


def test_an_unknown_field_would_be_seen():
    _, children = settled()
    engine = next(child for child in children if child["kind"] == "Deployment")
    engine["spec"]["template"]["spec"]["nodeSelectors"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="nodeSelectors"):
        kubernetes_validate.validate(engine, "1.34", strict=True)
