"""A folder of this machine as a volume of the cluster: the quickstart's model.

The claim is filled by a pod that only receives: `tar` here, `kubectl exec`, `tar` there. So it works on any cluster.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deployed import kubectl
from machine import patience

IMAGE = "AURORA_OPERATOR_TRAINER_IMAGE"
"""The operator's setting that names an image which every node pulls anyway, and which has tar."""
_USER = 65532


def _image() -> str:
    operators = json.loads(
        kubectl("get", "deployments", "-A", "-l", "app.kubernetes.io/name=aurora-operator", "-o", "json")
    )
    for deployment in operators["items"]:
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            for variable in container.get("env", []):
                if variable["name"] == IMAGE and variable.get("value"):
                    return str(variable["value"])
    sys.exit(f"no Deployment of the operator names {IMAGE}: is the operator installed?")


def _claim(name: str, access_mode: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": [access_mode], "resources": {"requests": {"storage": "1Gi"}}},
    }


def _receiver(name: str, image: str) -> dict[str, Any]:
    """A pod that mounts the claim and waits, as little privileged as the product's own."""
    container = {
        "name": "receiver",
        "image": image,
        "command": ["sleep", "900"],
        "volumeMounts": [{"name": "model", "mountPath": "/model"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-receiver"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "model", "persistentVolumeClaim": {"claimName": name}}],
        },
    }


def bring(folder: Path, name: str, access_mode: str = "ReadWriteMany") -> None:
    """Make the claim ``name`` in the current namespace, with the files of ``folder`` in it.

    Args:
        folder: of a checkpoint.
        name: of the claim.
        access_mode: of the claim, where it does not exist.
    """
    kubectl("apply", "-f", "-", stdin=json.dumps(_claim(name, access_mode)))
    receiver = f"{name}-receiver"
    kubectl("apply", "-f", "-", stdin=json.dumps(_receiver(name, _image())))
    try:
        kubectl("wait", "pod", receiver, "--for=condition=Ready", f"--timeout={patience(180):.0f}s")
        _send(folder, receiver)
    finally:
        kubectl("delete", "pod", receiver, "--wait=false")


def _send(folder: Path, receiver: str) -> None:
    extract = ["kubectl", "exec", "-i", receiver, "--", "tar", "x", "-C", "/model", "--no-same-owner"]
    # By name, and not as `.`: the volume's own folder is another user's, whose mode and times cannot be set.
    names = sorted(path.name for path in folder.iterdir())
    with subprocess.Popen(["tar", "c", "-C", folder, "--", *names], stdout=subprocess.PIPE) as sender:
        done = subprocess.run(extract, check=False, stdin=sender.stdout, capture_output=True, text=True)
    if done.returncode or sender.returncode:
        sys.exit(f"{folder} did not arrive in pod {receiver}: {done.stderr.strip()}")
