"""Gather the world: the API server, the agents, Prometheus."""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aurora_core.agent.client import AgentClient
from aurora_core.credentials import clean
from aurora_core.errors import ConfigError, EngineError
from aurora_core.exchange import within
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

if TYPE_CHECKING:
    from aurora_core.weights.record import Record

_AGENT_TIMEOUT = 20.0
"""Of one request, and of all that a reconcile reads from one agent."""
_AGENTS_AT_ONCE = 32
_MOST_TEXT = 500
"""Characters of an agent's text that are kept."""
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
"""What reading an answer fails with that is none of an agent's."""


def _malformed(error: Exception) -> str:
    return f"its agent answers with something that this operator cannot read ({type(error).__name__})"


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


class _Asked:
    """What one engine pod's agent told."""

    def __init__(self, pod: Mapping[str, Any], token: str) -> None:
        name, address = pod["metadata"]["name"], pod["status"].get("podIP") or ""
        self.versions: tuple[Published, ...] | None = None
        self.damaged: Mapping[str, str] = {}
        self.record: Record | None = None
        self.training: Mapping[str, Any] = {}
        self.pod = Pod(name, address)
        with closing(agent(self.pod, token)) as client, within(_AGENT_TIMEOUT):
            try:
                state = client.live()
                draft = state["draft"]
                failed = {int(version): str(why)[:_MOST_TEXT] for version, why in draft["failed"].items()}
                self.pod = Pod(
                    name,
                    address,
                    draft["live"],
                    state["steps"],
                    state["capture"]["rate"],
                    failed,
                    dtype=str(state.get("dtype") or ""),
                    fallback=str(state.get("fallback") or "")[:_MOST_TEXT],
                )
            except EngineError as error:
                self.pod = Pod(name, address, problem=str(error))
                return
            except _MALFORMED as error:
                self.pod = Pod(name, address, problem=_malformed(error))
                return
            # An engine serves on where its volume fails.
            try:
                self.pod = replace(self.pod, volume=client.volume())
                found, self.damaged, self.record = client.contents()
                self.versions = tuple(
                    Published(int(one["version"]), one["holdout_accept_length"], str(one.get("digest", "")))
                    for one in found
                )
                self.training = client.training()
            except EngineError as error:
                self.pod = replace(self.pod, volume_problem=str(error))
            except _MALFORMED as error:
                self.versions = None
                self.pod = replace(self.pod, volume_problem=_malformed(error))


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


def _ask_agents(pods: list[dict[str, Any]], token: str) -> list[_Asked]:
    ready = [pod for pod in pods if is_ready(pod)]
    if not (ready and token):
        return []
    with ThreadPoolExecutor(min(_AGENTS_AT_ONCE, len(ready))) as pool:
        return list(pool.map(lambda pod: _Asked(pod, token), ready))


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
    asked = _ask_agents(engines, token if is_credential(token) else "")
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
        pods=tuple(one.pod for one in asked),
        versions=next((one.versions for one in asked if one.versions is not None), None),
        damaged=next((one.damaged for one in asked if one.damaged), {}),
        record=next((one.record for one in asked if one.record is not None), None),
        training=next((one.training for one in asked if one.training), {}),
        found=found,
        problems=problems,
        new_keys={name: secrets.token_urlsafe(24) for name in NAMES},
        api_key=api_key,
        credential_problem=problem,
    )
