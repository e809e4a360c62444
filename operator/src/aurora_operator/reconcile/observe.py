"""Gather the world: the API server, the agents, Prometheus."""

import base64
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from aurora_core.agent.client import AgentClient
from aurora_core.errors import EngineError
from pydantic import ValidationError

from aurora_operator.api.spec import PrometheusSpec, SecretKey, Spec
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.prometheus import Prometheus
from aurora_operator.errors import ClusterError, PrometheusError, SpecError
from aurora_operator.promotion.assignment import candidate_slice, slice_index
from aurora_operator.promotion.gate import Evidence, GuardResult
from aurora_operator.promotion.measure import NAMES, Arm, arm_increments, by_request, by_slice
from aurora_operator.promotion.trial import Pod, Published, strategy, trial_key
from aurora_operator.reconcile.conditions import is_ready
from aurora_operator.reconcile.world import Key, World
from aurora_operator.render.config import AGENT_PORT
from aurora_operator.render.identity import Images, Resource

LOOKBACK_SECONDS = 600.0
_AGENT_TIMEOUT = 20.0


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


def _children(cluster: Cluster, resource: Resource) -> dict[Key, Mapping[str, Any]]:
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
    found = {(a, k, n): cluster.get(a, k, resource.namespace, n) for a, k, n in names}
    return {at: body for at, body in found.items() if body is not None}


def decoded(secret: Mapping[str, Any] | None, name: str) -> str:
    """A value of a Secret; empty where there is none."""
    data = (secret or {}).get("data") or {}
    return base64.b64decode(data[name]).decode() if name in data else ""


class _Asked:
    """What one engine pod's agent told."""

    def __init__(self, pod: Mapping[str, Any], token: str) -> None:
        name, address = pod["metadata"]["name"], pod["status"].get("podIP") or ""
        self.versions: tuple[Published, ...] | None = None
        self.training: Mapping[str, Any] = {}
        self.pod = Pod(name, address)
        with closing(agent(self.pod, token)) as client:
            try:
                state = client.live()
                draft = state["draft"]
                failed = {int(version): str(why) for version, why in draft["failed"].items()}
                self.pod = Pod(name, address, draft["live"], state["steps"], state["capture"]["rate"], failed)
                self.versions = tuple(
                    Published(one["version"], one["holdout_accept_length"]) for one in client.versions()
                )
                self.training = client.training()
            except EngineError as error:
                self.pod = Pod(name, address, problem=str(error))


def agent(pod: Pod, token: str) -> AgentClient:
    """The agent in a pod."""
    return AgentClient(f"http://{pod.address}:{AGENT_PORT}", token, timeout=_AGENT_TIMEOUT)


def _ask_agents(pods: list[dict[str, Any]], token: str) -> list[_Asked]:
    ready = [pod for pod in pods if is_ready(pod)]
    if not (ready and token):
        return []
    with ThreadPoolExecutor(min(16, len(ready))) as pool:
        return list(pool.map(lambda pod: _Asked(pod, token), ready))


def _prometheus(cluster: Cluster, namespace: str, spec: PrometheusSpec) -> Prometheus:
    def value(at: SecretKey | None) -> str:
        if at is None:
            return ""
        found = decoded(cluster.get("v1", "Secret", namespace, at.name), at.key)
        if not found:
            raise PrometheusError(f"secret {at.name} has no key {at.key}: promotion.prometheus names it")
        return found

    return Prometheus(spec.url, value(spec.bearer_token_secret), value(spec.ca_secret))


def _evidence(
    prometheus: Prometheus, resource: Resource, stable: Stable, candidate: Candidate, now: datetime
) -> Evidence:
    names = "|".join(NAMES[candidate.metric])
    selector = f'{{__name__=~"{names}",speculator="{resource.namespace}/{resource.name}"}}'
    since, until = candidate.since.timestamp(), now.timestamp()
    series = prometheus.raw(selector, since - LOOKBACK_SECONDS, until)
    if not series:
        return Evidence(problem="Prometheus has no counters of this resource: does it scrape the engine pods' agents?")
    mine = Arm(candidate.version, resource.spec.draft.num_steps)
    top = arm_increments(series, candidate.metric, mine, since, born=True)
    bottom = arm_increments(series, candidate.metric, Arm(stable.version, stable.steps), since, born=False)
    requests = (by_request(top), by_request(bottom))
    if strategy(resource.spec) != "Switchback":
        return Evidence(*requests, int(requests[0].n), int(requests[1].n))
    length, trial = resource.spec.promotion.gate.slice_seconds, trial_key(resource.uid, candidate)

    def index(time: float) -> int:
        return slice_index(time - since, length)

    # The slice that runs now is not whole yet, and its requests are still to end.
    closed = index(until)
    top, bottom = ([one for one in found if index(one[0]) < closed] for found in (top, bottom))
    return Evidence(
        by_slice(top, index, lambda i: candidate_slice(trial, i)),
        by_slice(bottom, index, lambda i: not candidate_slice(trial, i)),
        int(requests[0].n),
        int(requests[1].n),
        sliced=True,
    )


def _guards(
    prometheus: Prometheus, resource: Resource, stable: Stable, candidate: Candidate, now: datetime
) -> tuple[GuardResult, ...]:
    out = []
    for guard in resource.spec.promotion.guards:

        def ask(version: int, query: str = guard.query) -> float | None:
            filled = query.replace("$version", str(version))
            filled = filled.replace("$speculator", f"{resource.namespace}/{resource.name}")
            return prometheus.number(filled, now.timestamp())

        value = ask(candidate.version)
        other = ask(stable.version) if guard.max_ratio_to_stable is not None else None
        if value is None or (guard.max_ratio_to_stable is not None and not other):
            out.append(GuardResult(guard.name, None, "the query gives no number"))
            continue
        share = None if guard.max_ratio_to_stable is None or other is None else guard.max_ratio_to_stable * other
        checks = (
            (f"{value:.4g} is above {guard.max}", guard.max is not None and value > guard.max),
            (f"{value:.4g} is below {guard.min}", guard.min is not None and value < guard.min),
            (f"{value:.4g} is above {share}, stable's share", share is not None and value > share),
        )
        broken = [message for message, breaks in checks if breaks]
        out.append(GuardResult(guard.name, bool(broken), broken[0] if broken else "fine"))
    return tuple(out)


def _measure(
    cluster: Cluster, resource: Resource, status: Status, now: datetime
) -> tuple[Evidence | None, tuple[GuardResult, ...]]:
    spec = resource.spec.promotion.prometheus
    if status.candidate is None or status.stable is None or resource.spec.suspend:
        return None, ()
    if strategy(resource.spec) in {"Immediate", "Manual"} and spec is None:
        return None, ()
    if spec is None:
        return Evidence(problem="promotion.prometheus is not set"), ()
    try:
        with closing(_prometheus(cluster, resource.namespace, spec)) as prometheus:
            return (
                _evidence(prometheus, resource, status.stable, status.candidate, now),
                _guards(prometheus, resource, status.stable, status.candidate, now),
            )
    except (PrometheusError, ClusterError) as error:
        return Evidence(problem=str(error)), ()


def observe(cluster: Cluster, body: Mapping[str, Any], images: Images, load_problems: tuple[str, ...] = ()) -> World:
    """One look at everything around a resource.

    Raises:
        ClusterError: the API server does not answer.
        SpecError: the resource cannot be read.
    """
    spec, status = parse(body)
    metadata = body["metadata"]
    resource = Resource(metadata["name"], metadata["namespace"], metadata["uid"], spec)
    children = _children(cluster, resource)
    token = decoded(children.get(("v1", "Secret", resource.keys)), "agent")
    engines = cluster.list("v1", "Pod", resource.namespace, resource.selector("engine"))
    trainers = [
        pod
        for component in ("trainer", "init")
        for pod in cluster.list("v1", "Pod", resource.namespace, resource.selector(component))
    ]
    asked = _ask_agents(engines, token)
    now = datetime.now(UTC)
    evidence, guards = _measure(cluster, resource, status, now)
    return World(
        body=body,
        spec=spec,
        status=status,
        now=now,
        images=images,
        children=children,
        engine_pods=tuple(engines),
        trainer_pods=tuple(trainers),
        pods=tuple(one.pod for one in asked),
        versions=next((one.versions for one in asked if one.versions is not None), None),
        training=next((one.training for one in asked if one.training), {}),
        evidence=evidence,
        guards=guards,
        load_problems=load_problems,
        new_keys={name: secrets.token_urlsafe(24) for name in ("admin", "agent", "samples")},
    )
