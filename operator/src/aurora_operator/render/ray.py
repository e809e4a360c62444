"""Mode Online: one RayCluster, which KubeRay runs, with engines and trainer as nodes of one Ray.

Its head has no engine: Ray's services, and in the same pod the driver, which schedules the actors on the nodes and
replaces them. Engine pods have the same labels, ports, probes and agent as those of a Deployment, so that requests,
promotion and metrics do not depend on who made them. The driver is a container and no RayJob: a job's pods are all made
again whenever its driver ends, and it needs Ray's dashboard, which runs what anybody sends it.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from aurora_operator.api.spec import RAY_PORTS, Resources
from aurora_operator.render import credentials, serving, training
from aurora_operator.render.config import METRICS_PORT
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.merge import pod_template
from aurora_operator.render.pods import (
    CONFIG,
    CONFIGURED,
    DATA,
    DESIRED,
    MODELS,
    RUNTIME,
    config_mounts,
    container,
    data_mount,
    model_mounts,
    pod,
    secret_env,
    signing_env,
)
from aurora_operator.render.training import QUEUE

ENGINE_RESOURCE, TRAINER_RESOURCE = "aurora_engine", "aurora_trainer"
"""Ray's custom resources, which a node has for each actor: by them the driver finds where one belongs."""
API, KIND = "ray.io/v1", "RayCluster"
HEAD = "ray-head"
"""Component of the head's pod, and name of its container of Ray's services."""
DRIVER = "driver"
"""Container of the head's pod whose process schedules and watches the actors."""
ENGINES, TRAINERS = "engines", "trainer"
"""Names of the worker groups."""
GCS, LAST_PORT = RAY_PORTS
"""Port of the head by which all others find it, and the last one of Ray's."""
NODE_MANAGER, OBJECT_MANAGER, RUNTIME_ENV, AGENT_GRPC, AGENT_HTTP, METRICS = range(GCS + 1, GCS + 7)
FIRST_WORKER = 6400
"""Ray's processes listen from here to the last one."""

_HEAD_RESOURCES = Resources(requests={"cpu": "200m", "memory": "1Gi"})
_DRIVER_RESOURCES = Resources(requests={"cpu": "50m", "memory": "512Mi"})
"""A namespace with a quota of requests refuses pods with a container that has none."""
_LEAST_STORE = 100 << 20
"""Bytes of the head's object store, through which no sample passes; Ray takes no less than 75 MiB."""
_GRACE = 90
"""Seconds of the head to end: the driver has the trainer save its state, and the engines end."""
_LAST: dict[str, Any] = {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "20"]}}}}
"""Of Ray's own processes: where the cluster goes they end after the driver, which has the trainer save its state."""
DRAIN = f"""sleep 5
for file in {RUNTIME}/engine/*/engine.pid; do
  pid=$(cat "$file") && kill -TERM "$pid" && while readlink "/proc/$pid/exe"; do sleep 1; done
done > /dev/null 2>&1"""
"""Before an engine's node gets SIGTERM, at which Ray kills whatever its actors started: endpoints forget the pod, and
the engine answers what it has, as an engine of the other modes does. Of a process that ended and waits for its parent
there is no executable."""
_START = ["ulimit -n 65536 2> /dev/null; eval exec $KUBERAY_GEN_RAY_START_CMD"]
"""Ray itself gets the kubelet's SIGTERM and not a shell that ignores it; KubeRay gives the command."""
_OVERWRITE = "ray.io/overwrite-container-cmd"
"""Annotation by which KubeRay leaves the container's command as it is."""


def _ray_env(resource: Resource) -> list[dict[str, Any]]:
    """Who has no token is no part of this Ray, and nothing is reported to anybody outside.

    What actors start would have the lowest priority of its container, an engine too.
    """
    return [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        secret_env("RAY_AUTH_TOKEN", resource.secret, "samples"),
        {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
        {"name": "RAY_worker_niceness", "value": "0"},
    ]


def _alive(port: int) -> dict[str, Any]:
    """Probes of a process that listens; without any KubeRay would add its own, which need wget and the dashboard."""
    probe = {"tcpSocket": {"port": port}}
    return {
        "readinessProbe": probe | {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": probe | {"periodSeconds": 15, "timeoutSeconds": 10, "failureThreshold": 8},
    }


def _node(resource: Resource, made: Mapping[str, Any]) -> dict[str, Any]:
    """A container as a node of Ray: an actor starts its process, with this container's environment and mounts."""
    return {
        **made,
        "command": ["/bin/bash", "-c", "--"],
        "args": _START,
        "env": [*made["env"], *_ray_env(resource)],
        "ports": [*made.get("ports", ()), {"name": "ray-metrics", "containerPort": METRICS}],
    }


def _ports() -> dict[str, str]:
    """Fixed ports, so that a NetworkPolicy can name them."""
    return {
        "node-manager-port": str(NODE_MANAGER),
        "object-manager-port": str(OBJECT_MANAGER),
        "runtime-env-agent-port": str(RUNTIME_ENV),
        "dashboard-agent-grpc-port": str(AGENT_GRPC),
        "dashboard-agent-listen-port": str(AGENT_HTTP),
        "metrics-export-port": str(METRICS),
        "min-worker-port": str(FIRST_WORKER),
        "max-worker-port": str(LAST_PORT),
    }


def _head(resource: Resource, images: Images, stamp: str) -> dict[str, Any]:
    image = resource.spec.serving.image or images.engine
    shared = [{"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108 (where Ray's object store is)
    services = container(HEAD, image, images.pull_policy, [], env=[], mounts=list(shared), resources=_HEAD_RESOURCES)
    services = _node(resource, services)
    services["ports"] = [{"name": "gcs-server", "containerPort": GCS}, {"name": "metrics", "containerPort": METRICS}]
    driver = container(
        DRIVER,
        image,
        images.pull_policy,
        [
            "online", "--address", "auto", "--agents", "sidecar", "--work", DATA, "--models", MODELS,
            "--config", f"{CONFIG}/online.yaml", "--desired", DESIRED, "--runtime", f"{RUNTIME}/engine",
            "--metrics-port", str(METRICS_PORT), "--in-use", f"{DESIRED}/in-use",
            "--label", f"speculator={resource.full_name}",
        ],
        env=[*_ray_env(resource), *signing_env(resource)],
        mounts=[
            *shared,
            data_mount("weights", read_only=True),
            data_mount("models", read_only=True),
            data_mount("training", read_only=True),
            *config_mounts(desired=True),
            *model_mounts(resource),
        ],
        resources=_DRIVER_RESOURCES,
    )  # fmt: skip
    containers = [services | _alive(GCS) | _LAST, driver]
    made = pod(resource, images, HEAD, containers, "", grace=_GRACE, restart="Always")
    made["metadata"]["annotations"] = {credentials.ANNOTATION: stamp}
    # Ray finds the node that its driver belongs to among the processes there.
    made["spec"]["shareProcessNamespace"] = True
    return {
        "rayStartParams": {
            "num-cpus": "0",
            "object-store-memory": str(_LEAST_STORE),
            "port": str(GCS),
            "include-dashboard": "false",
            **_ports(),
        },
        "template": made,
    }


def _group(
    name: str, replicas: int, resource_name: str, actors: int, store_bytes: int, template: dict[str, Any]
) -> dict[str, Any]:
    """A worker group; ``actors`` is how many of them each of its nodes takes."""
    return {
        "groupName": name,
        "replicas": replicas,
        "minReplicas": 0,
        "maxReplicas": max(1, replicas),
        "rayStartParams": {
            "num-cpus": str(actors),
            "object-store-memory": str(store_bytes),
            "resources": shlex.quote(json.dumps({resource_name: actors})),
            **_ports(),
        },
        "template": template,
    }


def cluster(resource: Resource, images: Images, stamp: str) -> dict[str, Any]:
    """The RayCluster: a head with the driver, a group of engines and a trainer.

    ``stamp`` changes with the credentials of its pods.
    """
    spec = resource.spec
    engines = serving.template(resource, images, stamp)
    engine, agent = engines["spec"]["containers"]
    drained = {"lifecycle": {"preStop": {"exec": {"command": ["/bin/bash", "-c", DRAIN]}}}}
    engines["spec"]["containers"] = [_node(resource, engine) | drained, agent]
    made = _node(resource, training.trainer(resource, images)) | _alive(NODE_MANAGER)
    trainers = training.template(resource, images, made | _LAST, stamp, "Always")
    for template in (engines, trainers):
        # The driver follows the configuration, actor by actor.
        template["metadata"]["annotations"].pop(CONFIGURED)
    # Samples wait in the engine's spool; the store has those that are on their way.
    store = max(_LEAST_STORE, spec.samples.spool_bytes // 2)
    body: dict[str, Any] = {
        "apiVersion": API,
        "kind": KIND,
        "metadata": resource.metadata(resource.ray, "ray"),
        "spec": {
            "headGroupSpec": _head(resource, images, stamp),
            "workerGroupSpecs": [
                _group(
                    ENGINES,
                    spec.serving.replicas,
                    ENGINE_RESOURCE,
                    1,
                    store,
                    pod_template(engines, spec.serving.pod_template),
                ),
                _group(
                    TRAINERS,
                    0 if spec.suspend else spec.training.nodes,
                    TRAINER_RESOURCE,
                    spec.training.gpus,
                    store,
                    pod_template(trainers, spec.training.pod_template),
                ),
            ],
        },
    }
    body["metadata"]["annotations"] = {**body["metadata"].get("annotations", {}), _OVERWRITE: "true"}
    if spec.training.queue_name is not None:
        # One workload: Kueue admits head, engines and trainer together.
        body["metadata"]["labels"] = {**body["metadata"]["labels"], QUEUE: spec.training.queue_name}
    return body


def settled(body: Mapping[str, Any]) -> list[Any]:
    """What of a RayCluster KubeRay does not carry out while it runs: everything of its groups but their sizes."""
    groups = [body["spec"]["headGroupSpec"], *body["spec"]["workerGroupSpecs"]]
    return [{name: part for name, part in group.items() if not name.lower().endswith("replicas")} for group in groups]


def placed(body: Mapping[str, Any], live: Mapping[str, Any]) -> Mapping[str, Any]:
    """The RayCluster to apply, with the pods' templates that it has: a queue says in them where pods run."""
    spec = live.get("spec") or {}
    head = (spec.get("headGroupSpec") or {}).get("template")
    found = {group.get("groupName"): group.get("template") for group in spec.get("workerGroupSpecs") or ()}
    made = body["spec"]
    groups = [
        {**group, "template": found.get(group["groupName"]) or group["template"]} for group in made["workerGroupSpecs"]
    ]
    return {
        **body,
        "spec": {
            **made,
            "headGroupSpec": {**made["headGroupSpec"], "template": head or made["headGroupSpec"]["template"]},
            "workerGroupSpecs": groups,
        },
    }
