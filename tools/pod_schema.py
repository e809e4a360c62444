"""The part of Kubernetes' own schema of a pod that a podTemplate may use, as a closed structural schema.

Taken from the OpenAPI definitions that the package kubernetes-validate carries. Fields that nobody needs who merges
into these pods are left out; lists, maps and strings are bounded, so that a stored resource is small and shallow.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate

KUBERNETES = "v1.34.0"
_CORE, _META = "io.k8s.api.core.v1.", "io.k8s.apimachinery.pkg.apis.meta.v1."
_INT_OR_STRING = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
}
_CHOSEN = {
    f"{_CORE}PodTemplateSpec": ("metadata", "spec"),
    f"{_META}ObjectMeta": ("annotations", "labels"),
    f"{_CORE}PodSpec": (
        "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy", "hostAliases", "hostIPC",
        "hostNetwork", "hostPID", "hostUsers", "imagePullSecrets", "initContainers", "nodeName", "nodeSelector",
        "preemptionPolicy", "priorityClassName", "resourceClaims", "restartPolicy", "runtimeClassName", "schedulerName",
        "schedulingGates", "securityContext", "serviceAccountName", "shareProcessNamespace",
        "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
    ),
    f"{_CORE}Container": (
        "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports",
        "readinessProbe", "resources", "restartPolicy", "securityContext", "startupProbe", "volumeMounts", "workingDir",
    ),
    f"{_CORE}Volume": (
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "hostPath", "image", "name", "nfs",
        "persistentVolumeClaim", "projected", "secret",
    ),
}  # fmt: skip
"""Fields that are kept; of a type that is not named here, all."""
_ITEMS, _PROPERTIES, _LENGTH, _LONG = 64, 64, 1024, 16384
_LONG_STRINGS = {"value", "args", "command", "annotations"}
_MERGED_BY = {
    "topologySpreadConstraints": "topologyKey", "hostAliases": "ip", "volumeMounts": "mountPath",
    "ports": "containerPort", "imagePullSecrets": "name",
}  # fmt: skip
"""Keys that lists are merged by, which an item must have."""


@cache
def _definitions() -> dict[str, Any]:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"{KUBERNETES}-local"
    definitions: dict[str, Any] = json.loads((folder / "_definitions.json").read_text())["$defs"]
    return definitions


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object")
    return kind if isinstance(kind, str) else next(one for one in kind if one != "null")


def _structural(schema: dict[str, Any], field: str) -> dict[str, Any]:
    name = ""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        schema = _definitions()[name]
    if name in _INT_OR_STRING:
        return {"x-kubernetes-int-or-string": True}
    kind = _type(schema)
    if kind == "object" and "properties" in schema:
        chosen = _CHOSEN.get(name, tuple(schema["properties"]))
        parts = {key: _structural(schema["properties"][key], key) for key in chosen}
        required = sorted({key for key in schema.get("required", ()) if key in chosen})
        return {"type": "object", "properties": parts, **({"required": required} if required else {})}
    if kind == "object":
        inner = _structural(schema.get("additionalProperties", {"type": "string"}), field)
        return {"type": "object", "additionalProperties": inner, "maxProperties": _PROPERTIES}
    if kind == "array":
        items = _structural(schema["items"], field)
        key = _MERGED_BY.get(field)
        if key and items.get("type") == "object":
            items["required"] = sorted({*items.get("required", ()), key})
        return {"type": "array", "maxItems": _ITEMS, "items": items}
    if kind == "string":
        return {"type": "string", "maxLength": _LONG if field in _LONG_STRINGS else _LENGTH}
    return {"type": kind}


def pod_template() -> dict[str, Any]:
    """The structural schema of a podTemplate."""
    schema = _structural({"$ref": f"#/$defs/{_CORE}PodTemplateSpec"}, "")
    # A podTemplate may name no container at all.
    schema["properties"]["spec"].pop("required", None)
    return schema


def text() -> str:
    """The same as the file that the operator's package carries."""
    return json.dumps(pod_template(), sort_keys=True, separators=(",", ":")) + "\n"
