"""Engine pods, their Service, and what protects both."""

from typing import Any

from aurora_core import listening
from aurora_operator.api.spec import Resources
from aurora_operator.render import credentials, gpus
from aurora_operator.render.config import AGENT_PORT, configured
from aurora_operator.render.identity import CANARY, POD_SET, STABLE, Images, Resource
from aurora_operator.render.merge import pod_template
from aurora_operator.render.pods import (
    CONFIG,
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

ENGINE = "engine"
START_SECONDS = 3600
"""How long loading a large model may take before the pod is started again."""

_AGENT_RESOURCES = Resources(requests={"cpu": "50m", "memory": "128Mi"})
"""A namespace with a quota of requests refuses pods with a container that has none; a podTemplate changes these."""


def engine(resource: Resource, images: Images) -> dict[str, Any]:
    """The container that serves."""
    spec, secret = resource.spec.serving, resource.secret
    env = [secret_env("AURORA_ADMIN_KEY", secret, "admin"), secret_env("AURORA_SAMPLE_TOKEN", secret, "samples")]
    if spec.api_key_secret is not None:
        env.append(secret_env("AURORA_API_KEY", spec.api_key_secret.name, spec.api_key_secret.key))
    env += signing_env(resource)
    health = {"httpGet": {"path": "/health", "port": "http"}}
    made = container(
        "engine",
        spec.image or images.engine,
        images.pull_policy,
        [
            "engine", "--work", DATA, "--models", MODELS, "--config", f"{CONFIG}/engine.yaml",
            "--desired", DESIRED, "--runtime", f"{RUNTIME}/engine",
        ],
        env=env,
        mounts=[
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 (tensor parallel ranks share memory there)
            data_mount("weights", read_only=True),
            data_mount("models", read_only=True),
            data_mount("spool"),
            *config_mounts(desired=True),
            *model_mounts(resource),
        ],
        resources=spec.resources,
        gpus=gpus.limits(spec, ENGINE, spec.tensor_parallel_size),
    )  # fmt: skip
    return made | {
        "ports": [{"name": "http", "containerPort": spec.port}],
        "startupProbe": health | {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": START_SECONDS // 2},
        "readinessProbe": health | {"periodSeconds": 5, "timeoutSeconds": 20, "failureThreshold": 3},
        "livenessProbe": health | {"periodSeconds": 15, "timeoutSeconds": 30, "failureThreshold": 8},
        # Endpoints take a moment to forget a pod; what still arrives then is answered.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
    }


def agent(resource: Resource, images: Images) -> dict[str, Any]:
    """The sidecar by which the operator reads and sets what an engine does."""
    spec, secret = resource.spec.serving, resource.secret
    env = [
        secret_env("AURORA_ADMIN_KEY", secret, "admin"),
        secret_env("AURORA_AGENT_TOKEN", secret, "agent"),
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *signing_env(resource),
    ]
    made = container(
        "agent",
        spec.image or images.engine,
        images.pull_policy,
        [
            "agent", "--work", DATA, "--engine", f"http://127.0.0.1:{spec.port}",
            "--host", listening.ALL, "--port", str(AGENT_PORT),
            "--label", f"speculator={resource.full_name}", "--label", "engine=$(POD)",
        ],
        env=env,
        mounts=[data_mount("weights", read_only=True), data_mount("training", read_only=True), data_mount("record")],
        resources=_AGENT_RESOURCES,
    )  # fmt: skip
    alive = {"httpGet": {"path": "/healthz", "port": "agent"}}
    return made | {
        "ports": [{"name": "agent", "containerPort": AGENT_PORT}],
        "livenessProbe": alive | {"periodSeconds": 15, "timeoutSeconds": 10, "failureThreshold": 4},
    }


def template(resource: Resource, images: Images, stamp: str) -> dict[str, Any]:
    """Engine pods before a user's podTemplate: engine and agent in each; ``stamp`` changes with their credentials."""
    made = pod(
        resource,
        images,
        ENGINE,
        [engine(resource, images), agent(resource, images)],
        configured(resource, "engine"),
        grace=120,
        restart="Always",
    )
    made["metadata"]["annotations"] |= {
        credentials.ANNOTATION: stamp,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(AGENT_PORT),
        "prometheus.io/path": "/metrics",
    }
    if resource.spec.promotion.canary.route is not None:
        # A pod that starts while no operator runs serves as well.
        made["metadata"]["labels"][POD_SET] = STABLE
    made["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": resource.selector(ENGINE)},
        }
    ]
    return made


def deployment(resource: Resource, images: Images, stamp: str) -> dict[str, Any]:
    """The engine Deployment; ``stamp`` changes with the credentials of its pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": resource.metadata(resource.engine, ENGINE),
        "spec": {
            "replicas": resource.spec.serving.replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": START_SECONDS,
            # A spare GPU is rare: replace pods one by one, without an extra pod.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "selector": {"matchLabels": resource.selector(ENGINE)},
            "template": pod_template(template(resource, images, stamp), resource.spec.serving.pod_template),
        },
    }


def service(resource: Resource) -> dict[str, Any]:
    """The endpoint for requests; it has the resource's name."""
    return _service(resource, resource.name, resource.selector(ENGINE))


def pod_sets(resource: Resource) -> list[dict[str, Any]]:
    """The two Services that a route deals requests to; none without a route."""
    if resource.spec.promotion.canary.route is None:
        return []
    return [
        _service(resource, name, {**resource.selector(ENGINE), POD_SET: pods})
        for name, pods in ((resource.stable_pods, STABLE), (resource.canary_pods, CANARY))
    ]


def _service(resource: Resource, name: str, selector: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": resource.metadata(name, ENGINE),
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": selector,
            "ports": [{"name": "http", "port": resource.spec.serving.port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def disruption_budget(resource: Resource) -> dict[str, Any] | None:
    """At most one engine pod is evicted at a time; what serves nothing anyway never blocks a drain.

    None where it would only block drains: with a single pod, and where all pods must be on the node that is drained, so
    that the first one could not come back before the last one has gone.
    """
    if resource.spec.serving.replicas < 2 or resource.one_node:  # noqa: PLR2004
        return None
    # Of pods that a RayCluster made Kubernetes cannot know how many there should be.
    limit = {"minAvailable": resource.spec.serving.replicas - 1} if resource.online else {"maxUnavailable": 1}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": resource.metadata(resource.engine, ENGINE),
        "spec": {
            **limit,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": resource.selector(ENGINE)},
        },
    }
