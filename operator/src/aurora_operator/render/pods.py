"""What all our pods have in common: identity, security, volumes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aurora_operator.api.spec import Resources
from aurora_operator.render import credentials
from aurora_operator.render.identity import Images, PodUser, Resource

CONFIGURED = "aurora-operator.io/config"
"""Annotation of pods with a hash of what their processes read at their start: another configuration, other pods."""
DATA, CONFIG, DESIRED, RUNTIME, MODEL = "/data", "/etc/aurora/config", "/etc/aurora/desired", "/run/aurora", "/model"
MODELS = f"{DATA}/models"
_SURROUNDINGS = {"HOME": RUNTIME, "TMPDIR": RUNTIME, "USER": "aurora"}
"""Environment of all containers. Libraries ask for the user's name, and one that the cluster assigns has none."""


def digest(value: Any) -> str:  # noqa: ANN401 (JSON)
    """A short hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def secret_env(name: str, secret: str, key: str, *, optional: bool = False) -> dict[str, Any]:
    """An environment variable from a Secret."""
    reference: dict[str, Any] = {"name": secret, "key": key}
    return {"name": name, "valueFrom": {"secretKeyRef": {**reference, "optional": True} if optional else reference}}


def signing_env(resource: Resource) -> list[dict[str, Any]]:
    """How versions are signed, for whoever reads or writes them."""
    signing = resource.spec.weights.signing
    if signing is None:
        return []
    return [
        secret_env("AURORA_SIGNING_KEY", signing.secret_name, credentials.SIGNING),
        secret_env("AURORA_SIGNING_KEY_PREVIOUS", signing.secret_name, credentials.ACCEPTED, optional=True),
        {"name": "AURORA_SIGNING_REQUIRED", "value": "true" if signing.required else "false"},
    ]


def container(
    name: str,
    image: str,
    policy: str,
    args: list[str],
    *,
    env: list[dict[str, Any]],
    mounts: list[dict[str, Any]],
    resources: Resources | None = None,
    gpus: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A container of ours: no root, no capabilities, nothing writable but its volumes."""
    limits = {**(resources.limits if resources else {}), **(gpus or {})}
    wants: dict[str, Any] = {}
    if resources and resources.requests:
        wants["requests"] = dict(resources.requests)
    if limits:
        wants["limits"] = limits
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": policy,
        "args": args,
        "env": [*({"name": name, "value": value} for name, value in _SURROUNDINGS.items()), *env],
        "resources": wants,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # A crash's last lines are in the pod's status, where the operator finds them without reading logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "runtime", "mountPath": RUNTIME}, *mounts],
    }


def data_mount(folder: str, *, read_only: bool = False) -> dict[str, Any]:
    """One folder of the weights' volume."""
    return {"name": "data", "mountPath": f"{DATA}/{folder}", "subPath": folder, "readOnly": read_only}


def config_mounts(*, desired: bool) -> list[dict[str, Any]]:
    """What is configured, and what is desired now."""
    mounts: list[dict[str, Any]] = [{"name": "config", "mountPath": CONFIG, "readOnly": True}]
    return [*mounts, {"name": "desired", "mountPath": DESIRED, "readOnly": True}] if desired else mounts


def model_mounts(resource: Resource) -> list[dict[str, Any]]:
    """The target's volume, where it comes from one."""
    volume = resource.spec.target.volume
    if volume is None:
        return []
    mount: dict[str, Any] = {"name": "model", "mountPath": MODEL, "readOnly": True}
    return [{**mount, "subPath": volume.sub_path} if volume.sub_path else mount]


def _security(user: PodUser) -> dict[str, Any]:
    """No root in any case."""
    given = {"runAsUser": user.run_as_user, "runAsGroup": user.run_as_group, "fsGroup": user.fs_group}
    owner = {"fsGroupChangePolicy": "OnRootMismatch"} if user.fs_group is not None else {}
    return {
        "runAsNonRoot": True,
        **{name: number for name, number in given.items() if number is not None},
        **owner,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod(
    resource: Resource,
    images: Images,
    component: str,
    containers: list[dict[str, Any]],
    stamp: str,
    *,
    grace: int,
    restart: str,
) -> dict[str, Any]:
    """A pod template."""
    volumes: list[dict[str, Any]] = [
        {"name": "runtime", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": resource.claim}},
        {"name": "config", "configMap": {"name": resource.config}},
        {"name": "desired", "configMap": {"name": resource.desired}},
    ]
    affinity: dict[str, Any] = {}
    if resource.one_node:
        mine = {"labelSelector": {"matchLabels": resource.pods}, "topologyKey": "kubernetes.io/hostname"}
        affinity = {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [mine]}}}
    if resource.spec.target.volume is not None:
        claim = {"claimName": resource.spec.target.volume.claim_name, "readOnly": True}
        volumes.append({"name": "model", "persistentVolumeClaim": claim})
    return {
        "metadata": {
            "labels": resource.labels(component),
            "annotations": {CONFIGURED: stamp},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": grace,
            "securityContext": _security(images.user),
            **({"imagePullSecrets": [{"name": name} for name in images.pull_secrets]} if images.pull_secrets else {}),
            **affinity,
            "containers": containers,
            "volumes": volumes,
        },
    }
