"""The jobs: one that prepares the volume, and the trainer."""

from collections.abc import Mapping
from typing import Any, Literal

from aurora_operator.api.spec import Resources
from aurora_operator.render import credentials, gpus, ranks
from aurora_operator.render.config import METRICS_PORT, configured
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.merge import merge, pod_template
from aurora_operator.render.pods import (
    CONFIG,
    DATA,
    DESIRED,
    MODELS,
    config_mounts,
    container,
    data_mount,
    model_mounts,
    pod,
    secret_env,
    signing_env,
)
from aurora_operator.render.serving import ENGINE

QUEUE = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue knows the queue of a Job."""
_QUEUED = "aurora-operator.io/queue"
"""Annotation of the trainer's pods with the same: a Job changes its queue only by being made again."""
CLAIM = "aurora-operator.io/claim"
"""Annotation of the init Job with the uid of the claim that it prepared."""
_GRACE = 60
"""Seconds that the trainer has to save its state."""
FOREVER = 2**31 - 1
"""The kubelet's own back-off paces restarts; a trainer is never given up in silence."""

_NO_SIDECAR = {
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
}
"""Annotations of the init pod: beside a mesh's sidecar, which never ends, its Job would never end either."""

_INIT_RESOURCES = Resources(requests={"cpu": "100m", "memory": "512Mi"})
"""Where the trainer has none: a namespace with a quota of requests refuses pods with a container that has none."""


def _job(resource: Resource, name: str, component: str, template: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": resource.metadata(name, component),
        "spec": {
            "backoffLimit": FOREVER,
            "completionMode": "NonIndexed",
            # Never two pods at once on one volume: the next is made when the one before has ended.
            "podReplacementPolicy": "Failed",
            "template": template,
        },
    }


def _surroundings(patch: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the trainer's podTemplate means for the init pod: where it runs, and what it needs there to reach the hub.

    Not its sidecars, which would never end, and not its resources, which may be GPUs.
    """
    spec = {key: value for key, value in ((patch or {}).get("spec") or {}).items() if key != "resourceClaims"}
    mine = [one for one in spec.get("containers") or () if one["name"] == "trainer"]
    own = [{key: value for key, value in one.items() if key != "resources"} | {"name": "init"} for one in mine]
    return {**(patch or {}), "spec": {**spec, "containers": own}}


_PLACING = {
    "affinity", "imagePullSecrets", "nodeSelector", "preemptionPolicy", "priorityClassName", "resourceClaims",
    "runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "terminationGracePeriodSeconds",
    "tolerations", "topologySpreadConstraints",
}  # fmt: skip
"""Fields of a podTemplate that say where pods run, and nothing about what runs in them or what it talks to."""


def is_chosen(resource: Resource) -> bool:
    """Whether whoever wrote the resource chooses what runs in the init pod, or what that takes for the hub."""
    spec = resource.spec.training
    pods = _surroundings(spec.pod_template)["spec"]
    containers = pods.pop("containers")
    return spec.image is not None or bool(pods.keys() - _PLACING) or any(one.keys() - {"name"} for one in containers)


def _where_engines_can_be(resource: Resource, patch: dict[str, Any]) -> dict[str, Any]:
    """The init pod's template where all pods share a node: it must be one for engines, too."""
    theirs, spec = (resource.spec.serving.pod_template or {}).get("spec") or {}, patch["spec"]
    node = (theirs.get("affinity") or {}).get("nodeAffinity")
    both = {"nodeSelector": theirs.get("nodeSelector"), "affinity": {"nodeAffinity": node} if node else None}
    chosen = {name: merge(value, spec.get(name) or {}) for name, value in both.items() if value}
    tolerations = [*(theirs.get("tolerations") or ()), *(spec.get("tolerations") or ())]
    return {**patch, "spec": {**spec, **chosen, **({"tolerations": tolerations} if tolerations else {})}}


def _given(resources: Resources) -> bool:
    return bool(resources.requests or resources.limits)


def _init_resources(resource: Resource) -> Resources:
    """It reads of the target what the trainer will read, and computes nothing."""
    theirs = resource.spec.training.resources
    return theirs if _given(theirs) else _INIT_RESOURCES


def init_job(resource: Resource, images: Images, claim_uid: str = "", *, decides_node: bool = False) -> dict[str, Any]:
    """Fetches the target once for all pods, and publishes version 0.

    Args:
        resource: whose.
        images: what runs where the spec names none.
        claim_uid: of the claim that it does that on, as far as it is known: another one of the same name is empty.
        decides_node: whether the volume may be made where this pod runs, and all others must follow it: then it asks
            for the GPUs of an engine, so that there are some.
    """
    target, serving = resource.spec.target, resource.spec.serving
    token = target.token_secret
    env = [*([secret_env("HF_TOKEN", token.name, token.key)] if token else []), *signing_env(resource)]
    made = container(
        "init",
        resource.spec.training.image or images.trainer,
        images.pull_policy,
        ["init", "--work", DATA, "--models", MODELS, "--config", f"{CONFIG}/trainer.yaml"],
        env=env,
        mounts=[data_mount(f) for f in ("weights", "models", "spool", "training")]
        + config_mounts(desired=False)
        + model_mounts(resource),
        resources=_init_resources(resource),
        gpus=gpus.asked(serving, ENGINE, serving.tensor_parallel_size) if decides_node else None,
    )
    template = pod(resource, images, "init", [made], "", grace=30, restart="OnFailure")
    template["metadata"]["annotations"] = dict(_NO_SIDECAR)
    patch = _surroundings(resource.spec.training.pod_template)
    template = pod_template(template, _where_engines_can_be(resource, patch) if resource.one_node else patch)
    job = _job(resource, resource.init, "init", template)
    if claim_uid:
        job["metadata"]["annotations"] = {**job["metadata"].get("annotations", {}), CLAIM: claim_uid}
    return job


def trainer(resource: Resource, images: Images) -> dict[str, Any]:
    """The container that trains, alone."""
    spec = resource.spec.training
    return container(
        "trainer",
        spec.image or images.trainer,
        images.pull_policy,
        [
            "train", "--work", DATA, "--models", MODELS, "--config", f"{CONFIG}/trainer.yaml",
            "--metrics-port", str(METRICS_PORT), "--in-use", f"{DESIRED}/in-use",
            "--label", f"speculator={resource.full_name}",
        ],
        env=[
            secret_env("AURORA_SAMPLE_TOKEN", resource.secret, "samples"),
            {"name": "AURORA_IMAGE", "value": spec.image or images.trainer},
            *signing_env(resource),
        ],
        mounts=[
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 (torch shares memory there)
            data_mount("weights"),
            data_mount("models", read_only=True),
            data_mount("spool"),
            data_mount("training"),
            *config_mounts(desired=True),
            *model_mounts(resource),
        ],
        resources=spec.resources,
        gpus=gpus.limits(spec, "trainer", spec.gpus),
    ) | {"ports": [{"name": "metrics", "containerPort": METRICS_PORT}]}  # fmt: skip


def template(
    resource: Resource,
    images: Images,
    made: dict[str, Any],
    stamp: str,
    restart: Literal["OnFailure", "Always"] = "OnFailure",
) -> dict[str, Any]:
    """Pods of a trainer's container, before a user's podTemplate; ``stamp`` changes with their credentials."""
    out = pod(resource, images, "trainer", [made], configured(resource, "trainer"), grace=_GRACE, restart=restart)
    out["metadata"]["annotations"][credentials.ANNOTATION] = stamp
    out["metadata"]["annotations"] |= {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }
    return out


def trainer_job(resource: Resource, images: Images, stamp: str) -> dict[str, Any]:
    """The trainer; it resumes from its last state on the volume whenever it is started.

    ``stamp`` changes with its credentials.
    """
    spec = resource.spec.training
    made = trainer(resource, images)
    together = ranks.several(spec)
    if together:
        made = ranks.launched(resource, made, ranks.grace_seconds(spec, _GRACE))
    pods = template(resource, images, made, stamp)
    if together:
        pods["spec"]["subdomain"] = resource.ranks
    if spec.queue_name is not None:
        pods["metadata"]["annotations"][_QUEUED] = spec.queue_name
    job = _job(resource, resource.trainer, "trainer", pod_template(pods, spec.pod_template))
    if together:
        job = ranks.indexed(spec, job)
    if spec.queue_name is not None:
        job["metadata"]["labels"] = {**job["metadata"]["labels"], QUEUE: spec.queue_name}
    elif resource.spec.suspend:
        # Otherwise it is not ours to say: a queue suspends what it does not admit yet.
        job["spec"]["suspend"] = True
    return job


def trainer_service(resource: Resource) -> dict[str, Any] | None:
    """Where engines announce samples, with Mooncake."""
    if resource.spec.samples.transport != "Mooncake":
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": resource.metadata(resource.trainer, "trainer"),
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": ranks.first(resource),
            "ports": [{"name": "samples", "port": 18080, "targetPort": 18080, "protocol": "TCP"}],
        },
    }


def claim(resource: Resource) -> dict[str, Any] | None:
    """The weights' claim, where none is given. By default it outlives the resource, and with it every draft."""
    weights = resource.spec.weights
    if weights.claim_name is not None:
        return None
    template = weights.template
    spec: dict[str, Any] = {
        "accessModes": [template.access_mode if template else "ReadWriteMany"],
        "resources": {"requests": {"storage": template.size if template else "20Gi"}},
    }
    if template and template.storage_class_name:
        spec["storageClassName"] = template.storage_class_name
    metadata = resource.metadata(resource.claim, "weights", owned=weights.on_delete == "Delete")
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
