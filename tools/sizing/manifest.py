"""The SpeculatorDeployment of a row."""

from pathlib import Path
from typing import Any

import yaml

from sizing.formulas import RUNNING, STATIC
from sizing.row import Row

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "examples" / "quickstart.yaml"
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
SHARED = "shared"
"""Storage class of examples whose pods are on several nodes."""

_HEAD = """# {title}. Generated from tools/sizing/table.py by tools/generate.py; do not edit.
# What it needs, how the sizes follow and how to undo it: README.md in this folder.
"""


def _draft(row: Row) -> dict[str, Any]:
    steps = {"numSteps": row.steps, "topK": 1, "numDraftTokens": row.steps + 1}
    if row.checkpoint:
        return {"checkpoint": row.checkpoint, **steps}
    draft = row.draft
    shape = {
        "numAttentionHeads": draft.heads,
        "numKeyValueHeads": draft.key_heads,
        "headDim": draft.head_dim,
        "intermediateSize": draft.mlp,
    }
    return {"draftVocabSize": draft.vocabulary, **({"shape": shape} if row.shaped else {}), **steps}


def _memory(gib: int) -> dict[str, Any]:
    return {"requests": {"memory": f"{gib}Gi"}, "limits": {"memory": f"{gib}Gi"}}


def _apart(row: Row) -> dict[str, Any]:
    """A podTemplate that keeps the trainer off the engine's node."""
    labels = {"app.kubernetes.io/instance": row.name, "app.kubernetes.io/component": "engine"}
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return {"spec": {"affinity": affinity}}


def _on_gpus(row: Row) -> dict[str, Any]:
    target: dict[str, Any] = {"model": row.target.model}
    if row.trust:
        target["trustRemoteCode"] = True
    if row.gated:
        target["tokenSecret"] = {"name": "huggingface", "key": "token"}
    arguments = ["--mem-fraction-static", str(STATIC), "--max-running-requests", str(RUNNING), *row.arguments]
    claim: dict[str, Any] = {"size": f"{row.volume_gib}Gi", "accessMode": "ReadWriteOnce"}
    if row.other_node:
        claim = {"storageClassName": SHARED, "size": f"{row.volume_gib}Gi", "accessMode": "ReadWriteMany"}
    return {
        "mode": "ExternalWithDraft" if row.checkpoint else "ExternalWithoutDraft",
        "target": target,
        "draft": _draft(row),
        "serving": {
            "replicas": 1,
            "tensorParallelSize": row.gpus,
            "maxTotalTokens": row.kv_tokens,
            "resources": _memory(row.engine_gib),
            "extraArgs": arguments,
        },
        "training": {
            "gpus": 1,
            "resources": _memory(row.trainer_gib),
            "hyperparameters": {
                "tttLength": 5,
                "maxSeqLength": row.longest,
                "holdoutSamples": row.holdout,
            },
            **({"podTemplate": _apart(row)} if row.other_node else {}),
        },
        "samples": {"maxTokens": row.max_tokens, "poolSize": row.pool, "spoolBytes": row.spool_bytes},
        "weights": {"keep": row.keep, "template": claim},
        "promotion": {"strategy": "Auto", "prometheus": {"url": PROMETHEUS}},
    }


def _on_cpu(row: Row) -> dict[str, Any]:
    """The quickstart's spec, with the sizes that prove that it cannot stall."""
    spec: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text())["spec"]
    spec["target"] = {"model": row.target.model}
    spec["serving"]["resources"]["limits"] = {"memory": f"{row.engine_gib}Gi"}
    spec["training"]["resources"]["limits"] = {"memory": f"{row.trainer_gib}Gi"}
    spec["samples"] |= {"maxTokens": row.max_tokens, "spoolBytes": row.spool_bytes}
    spec["weights"]["template"]["size"] = f"{row.volume_gib}Gi"
    return spec


def body(row: Row) -> dict[str, Any]:
    """The resource, as plain data."""
    return {
        "apiVersion": "aurora-operator.io/v1alpha1",
        "kind": "SpeculatorDeployment",
        "metadata": {"name": row.name},
        "spec": _on_gpus(row) if row.gpu else _on_cpu(row),
    }


def text(row: Row) -> str:
    """The resource, as the file says it."""
    return _HEAD.format(title=row.title) + yaml.safe_dump(body(row), sort_keys=False, width=120)
