"""Trainer pods that train one draft together: an Indexed Job, a headless Service, and torch's launcher in each pod.

Kubernetes restarts what fails, pod by pod, and the launcher never does: a rank that ends has all others end
(:mod:`aurora_core.training.group`), so that all containers restart, meet again and resume from the last saved state.
"""

from typing import Any

from aurora_core.protocol.trainer import LAST_MESSAGE

from aurora_operator.api.spec import TrainingSpec
from aurora_operator.render.identity import Resource

INDEX = "batch.kubernetes.io/job-completion-index"
"""Label that the Job controller gives a pod of an Indexed Job."""
PORT = 29500
"""Where the first pod's launcher meets the others; what ranks exchange afterwards is at ports of torch's choice."""
TERMINATION_LOG = "/dev/termination-log"
"""Where the kubelet reads a container's last message: the log ends with the launcher's own lines."""

_TO_SPARE = 10
"""Seconds of a pod's grace that the launcher leaves after the end of its ranks."""


def several(spec: TrainingSpec) -> bool:
    """Whether more than one process trains."""
    return spec.ranks > 1


def grace_seconds(spec: TrainingSpec, usual: int) -> int:
    """Seconds between SIGTERM and SIGKILL of the trainer's pods."""
    asked = ((spec.pod_template or {}).get("spec") or {}).get("terminationGracePeriodSeconds")
    return usual if asked is None else int(asked)


def launched(resource: Resource, container: dict[str, Any], grace: int) -> dict[str, Any]:
    """The trainer's container with its command under torch's launcher.

    Args:
        resource: whose.
        container: of a trainer that is alone.
        grace: seconds that the pod has to end.
    """
    spec = resource.spec.training
    launcher = [
        "--nnodes", str(spec.nodes), "--nproc-per-node", str(spec.gpus), "--node-rank", "$(JOB_COMPLETION_INDEX)",
        "--rdzv-backend", "static", "--master-addr", f"{resource.trainer}-0.{resource.ranks}",
        "--master-port", str(PORT), "--max-restarts", "0", "--shutdown-timeout", str(max(1, grace - _TO_SPARE)),
        "--no-python", "aurora-core",
    ]  # fmt: skip
    return {
        **container,
        "command": ["torchrun"],
        "args": [*launcher, *container["args"]],
        "env": [*container["env"], {"name": LAST_MESSAGE, "value": TERMINATION_LOG}],
    }


def indexed(spec: TrainingSpec, job: dict[str, Any]) -> dict[str, Any]:
    """The Job with one pod for each index; training came to its end when the first one's did."""
    each = {
        "completionMode": "Indexed",
        "completions": spec.nodes,
        "parallelism": spec.nodes,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    }
    return {**job, "spec": {**job["spec"], **each}}


def service(resource: Resource) -> dict[str, Any] | None:
    """What gives each pod its name in DNS; None where one process trains, or Ray knows where each is."""
    if resource.online or not several(resource.spec.training):
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": resource.metadata(resource.ranks, "trainer"),
        "spec": {
            "clusterIP": "None",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": resource.selector("trainer"),
            # They need each other while they start.
            "publishNotReadyAddresses": True,
            "ports": [{"name": "rendezvous", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    }


def first(resource: Resource) -> dict[str, str]:
    """Labels that select the pod of rank 0, which alone takes samples."""
    chosen = resource.selector("trainer")
    return {**chosen, INDEX: "0"} if several(resource.spec.training) else chosen
