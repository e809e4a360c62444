"""Gather the world: the API server, the agents, Prometheus."""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aurora_core.agent.client import AgentClient
from aurora_core.credentials import clean
from aurora_core.errors import ConfigError, EngineError
from aurora_core.exchange import within
from aurora_core.protocol.agent import Contents
from aurora_core.protocol.trainer import TrainerStatus
from pydantic import ValidationError

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import SpecError
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.reconcile.asking import Asking
from aurora_operator.reconcile.conditions import is_ready
from aurora_operator.reconcile.world import Key, Problem, World, decoded, is_credential
from aurora_operator.render.config import AGENT_PORT
from aurora_operator.render.credentials import NAMES
from aurora_operator.render.identity import COMPONENT, Images, Resource

_AGENT_TIMEOUT = 20.0
"""Of one request, and of all that a reconcile reads from one agent."""
_AGENTS_AT_ONCE = 32


def parse(body: Mapping[str, Any]) -> tuple[Spec, Status]:
    """The resource's spec and status.

    Raises:
        SpecError: the schema of the cluster lets through what this operator cannot read.
    """
    try:
        return Spec.model_validate(body["spec"]), Status.model_validate(body.get("status") or {})
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SpecError(f"the resource cannot be read: {lines}") from error


def _children(cluster: Cluster, resource: Resource) -> tuple[dict[Key, Mapping[str, Any]], frozenset[Key]]:
    """The resource's objects, and the names that are somebody else's; a claim that the spec names may be anybody's."""
    names: list[Key] = [
        ("v1", "PersistentVolumeClaim", resource.claim),
        ("v1", "ConfigMap", resource.config),
        ("v1", "ConfigMap", resource.wanted),
        ("v1", "Secret", resource.keys),
        ("v1", "Service", resource.name),
        ("v1", "Service", resource.trainer),
        ("batch/v1", "Job", resource.init),
        ("batch/v1", "Job", resource.trainer),
        ("apps/v1", "Deployment", resource.engine),
        ("policy/v1", "PodDisruptionBudget", resource.engine),
    ]
    found = {(a, k, n): body for a, k, n in names if (body := cluster.get(a, k, resource.namespace, n)) is not None}
    named = {("v1", "PersistentVolumeClaim", resource.spec.weights.claim_name)}
    taken = frozenset(at for at, body in found.items() if at not in named and not resource.owns(body))
    return {at: body for at, body in found.items() if at not in taken}, taken


@dataclass(frozen=True)
class _Report:
    """What one engine pod's agent reports.

    Attributes:
        pod: what it serves, or why that is not known.
        contents: of the volume; None where they cannot be read.
        training: how training goes; None where that is not known.
    """

    pod: Pod
    contents: Contents | None = None
    training: TrainerStatus | None = None


def _read_agent(pod: Mapping[str, Any], token: str) -> _Report:
    """Read all that one engine pod's agent reports; what fails is in the report."""
    at = Pod(pod["metadata"]["name"], pod["status"].get("podIP") or "")
    with closing(agent(at, token)) as client, within(_AGENT_TIMEOUT):
        try:
            state = client.live()
        except EngineError as error:
            return _Report(replace(at, problem=str(error)))
        at = replace(
            at,
            live=state.draft.live,
            steps=state.steps,
            rate=state.capture.rate,
            failed=state.draft.failed,
            dtype=state.dtype,
            fallback=state.fallback,
        )
        # An engine serves on where its volume fails.
        contents, training = None, None
        try:
            at = replace(at, volume=client.volume())
            contents, training = client.contents(), client.training()
        except EngineError as error:
            at = replace(at, volume_problem=str(error))
        return _Report(at, contents, training)


def agent(pod: Pod, token: str) -> AgentClient:
    """The agent in a pod."""
    host = f"[{pod.address}]" if ":" in pod.address else pod.address
    return AgentClient(f"http://{host}:{AGENT_PORT}", token, timeout=_AGENT_TIMEOUT)


def _api_key(cluster: Cluster, resource: Resource) -> tuple[str, str]:
    """The value of serving.apiKeySecret, and what is wrong with it; each empty where there is none."""
    at = resource.spec.serving.api_key_secret
    if at is None:
        return "", ""
    name = f"key {at.key} of Secret {resource.namespace}/{at.name} (serving.apiKeySecret)"
    secret = cluster.get("v1", "Secret", resource.namespace, at.name)
    if secret is None or at.key not in (secret.get("data") or {}):
        return "", f"{name} does not exist: create it"
    try:
        return clean(decoded(secret, at.key), name), ""
    except ConfigError as error:
        return "", str(error)


def _read_agents(pods: list[dict[str, Any]], token: str) -> list[_Report]:
    ready = [pod for pod in pods if is_ready(pod)]
    if not (ready and token):
        return []
    with ThreadPoolExecutor(min(_AGENTS_AT_ONCE, len(ready))) as pool:
        return list(pool.map(lambda pod: _read_agent(pod, token), ready))


def observe(
    cluster: Cluster,
    body: Mapping[str, Any],
    images: Images,
    asking: Asking,
    problems: tuple[Problem, ...] = (),
) -> World:
    """One look at everything around a resource.

    Raises:
        ClusterError: the API server does not answer.
        SpecError: the resource cannot be read.
    """
    spec, status = parse(body)
    metadata = body["metadata"]
    resource = Resource(metadata["name"], metadata["namespace"], metadata["uid"], spec)
    children, taken = _children(cluster, resource)
    token = decoded(children.get(("v1", "Secret", resource.keys)), "agent").strip()
    pods = cluster.list("v1", "Pod", resource.namespace, resource.everything)
    engines = [pod for pod in pods if pod["metadata"]["labels"].get(COMPONENT) == "engine"]
    trainers = [pod for pod in pods if pod["metadata"]["labels"].get(COMPONENT) in {"trainer", "init"}]
    reports = _read_agents(engines, token if is_credential(token) else "")
    contents = [one.contents for one in reports if one.contents is not None]
    versions = None
    if contents:
        versions = tuple(Published(one.version, one.holdout_accept_length, one.digest) for one in contents[0].versions)
    api_key, problem = _api_key(cluster, resource)
    now = datetime.now(UTC)
    found = asking.found(resource, status, now)
    return World(
        body=body,
        spec=spec,
        status=status,
        now=now,
        images=images,
        children=children,
        taken=taken,
        engine_pods=tuple(engines),
        trainer_pods=tuple(trainers),
        pods=tuple(one.pod for one in reports),
        versions=versions,
        damaged=next((one.damaged for one in contents if one.damaged), {}),
        record=next((one.record for one in contents if one.record is not None), None),
        training=next((one.training for one in reports if one.training is not None), None),
        found=found,
        problems=problems,
        new_keys={name: secrets.token_urlsafe(24) for name in NAMES},
        api_key=api_key,
        credential_problem=problem,
    )
