"""Gather the snapshot: the API server, the agents, Prometheus."""

import math
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aurora_core.agent.client import AgentClient
from aurora_core.budget import within
from aurora_core.errors import EngineError
from aurora_core.printable import printable
from aurora_core.protocol.agent import Contents, VersionInfo
from aurora_core.protocol.trainer import TrainerStatus

from aurora_operator.api.reading import read
from aurora_operator.api.status_fields import MOST_DIGEST, MOST_VERSION
from aurora_operator.clients.cluster import Cluster
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.reconcile import named_secrets, ray, route
from aurora_operator.reconcile.legible import flaw
from aurora_operator.reconcile.ownership import Adopted, Pods, adopted, controller, made_by, sorted_out
from aurora_operator.reconcile.pods import is_ready
from aurora_operator.reconcile.polling import Polling
from aurora_operator.reconcile.snapshot import Key, Problem, Snapshot, decoded, is_credential, succeeded
from aurora_operator.render.config import AGENT_PORT
from aurora_operator.render.credentials import NAMES
from aurora_operator.render.identity import COMPONENT, Images, Resource
from aurora_operator.render.ray import HEAD

_AGENT_TIMEOUT = 20.0
"""Of one request, and of all that a reconcile reads from one agent."""
_AGENTS_AT_ONCE = 32


def _children(
    cluster: Cluster, resource: Resource, more: tuple[Key, ...]
) -> tuple[dict[Key, Mapping[str, Any]], frozenset[Key], tuple[Problem, ...]]:
    """The resource's objects, the names that others have, and what cannot be read, which counts as not there.

    A claim that the spec names may be anybody's. ``more`` are objects of kinds that not every cluster has.
    """
    names: list[Key] = [
        ("v1", "PersistentVolumeClaim", resource.claim),
        ("v1", "ConfigMap", resource.config),
        ("v1", "ConfigMap", resource.desired),
        ("v1", "Secret", resource.secret),
        ("v1", "Service", resource.name),
        ("v1", "Service", resource.stable_pods),
        ("v1", "Service", resource.canary_pods),
        ("v1", "Service", resource.trainer),
        ("v1", "Service", resource.ranks),
        ("batch/v1", "Job", resource.init),
        ("batch/v1", "Job", resource.trainer),
        ("apps/v1", "Deployment", resource.engine),
        ("policy/v1", "PodDisruptionBudget", resource.engine),
        ("networking.k8s.io/v1", "NetworkPolicy", resource.engine),
        ("networking.k8s.io/v1", "NetworkPolicy", resource.trainer),
        ("networking.k8s.io/v1", "NetworkPolicy", resource.init),
        ("networking.k8s.io/v1", "NetworkPolicy", resource.ray),
        *more,
    ]
    found, problems = {}, []
    for at in names:
        body = cluster.get(at[0], at[1], resource.namespace, at[2])
        what = flaw(body, at[1]) if body is not None else ""
        if what:
            problems.append(Problem("ChildUnreadable", f"{at[1]} {at[2]} cannot be read: {what}"))
        elif body is not None:
            found[at] = body
    named = {("v1", "PersistentVolumeClaim", resource.spec.weights.claim_name)}
    taken = frozenset(at for at, body in found.items() if at not in named and not resource.owns(body))
    return {at: body for at, body in found.items() if at not in taken}, taken, tuple(problems)


def _gain(one: VersionInfo) -> float | None:
    """How much longer its accept length was than its parent's, where both are numbers to divide by each other."""
    mine, before = one.holdout_accept_length, one.parent_holdout_accept_length
    return mine / before if mine and before and 0 < mine / before < math.inf else None


def _gain_error(one: VersionInfo) -> float | None:
    """Its uncertainty, where that is one."""
    error = one.holdout_gain_error
    return error if error is not None and 0 <= error < math.inf else None


def published(contents: Contents) -> tuple[Published, ...]:
    """The versions that a status and a record can hold."""
    return tuple(
        Published(
            one.version,
            one.holdout_accept_length,
            printable(one.digest)[:MOST_DIGEST],
            one.parent,
            _gain(one),
            _gain_error(one),
        )
        for one in contents.versions
        if one.version < MOST_VERSION
    )


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
            share=state.capture.share,
            paused=state.capture.why_paused,
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
    return AgentClient(f"http://{host}:{AGENT_PORT}", token, timeout=_AGENT_TIMEOUT, name=pod.name)


def _pods(
    cluster: Cluster, resource: Resource, children: Mapping[Key, Mapping[str, Any]], now: datetime
) -> tuple[Pods, Adopted]:
    """The pods that carry the resource's labels, and those that it adopts, as far as they can be read.

    ReplicaSets are read only where they make engine pods of the resource.
    """
    pods = [pod for pod in cluster.list("v1", "Pod", resource.namespace, resource.everything) if not flaw(pod, "Pod")]
    sets: list[dict[str, Any]] = []
    if resource.adopted is None and any(pod["metadata"]["labels"].get(COMPONENT) == "engine" for pod in pods):
        sets = cluster.list("apps/v1", "ReplicaSet", resource.namespace, resource.everything)
    legible = [one for one in sets if not flaw(one, "ReplicaSet")]
    makers = made_by(resource, children, legible)
    if resource.adopted is None:
        return sorted_out(pods, makers, now), Adopted()
    matched = cluster.select("v1", "Pod", resource.namespace, resource.adopted)
    found = adopted(resource, [pod for pod in matched if not flaw(pod, "Pod")], makers)
    named = {pod["metadata"]["name"] for pod in matched}
    return sorted_out(
        [pod for pod in pods if pod["metadata"]["name"] not in named or controller(pod) in makers], makers, now
    ), found


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
    polling: Polling,
    problems: tuple[Problem, ...] = (),
) -> Snapshot:
    """Take a snapshot of everything around a resource.

    Raises:
        ClusterError: the API server does not answer.
        SpecError: the resource cannot be read.
    """
    reading = read(body)
    spec, status = reading.spec, reading.status
    metadata = body["metadata"]
    resource = Resource(metadata["name"], metadata["namespace"], metadata["uid"], spec)
    kuberay = ray.offered(cluster, resource)
    children, taken, illegible = _children(cluster, resource, kuberay.also)
    token = decoded(children.get(("v1", "Secret", resource.secret)), "agent").strip()
    now = datetime.now(UTC)
    pods, others = _pods(cluster, resource, children, now)
    engines = [pod for pod in pods.own if pod["metadata"]["labels"].get(COMPONENT) == "engine"]
    if resource.adopted is not None:
        engines = list(others.fit)
    heads = [pod for pod in pods.own if pod["metadata"]["labels"].get(COMPONENT) == HEAD]
    trainers = [pod for pod in pods.own if pod["metadata"]["labels"].get(COMPONENT) in {"trainer", "init"}]
    reports = _read_agents(engines, token if is_credential(token) else "")
    contents = [one.contents for one in reports if one.contents is not None]
    versions = None
    if contents:
        versions = published(contents[0])
    init = children.get(("batch/v1", "Job", resource.init))
    credentials = named_secrets.read(cluster, resource, prepared=succeeded(init))
    found = polling.found(resource, status, now, frozenset(pod["metadata"]["name"] for pod in engines))
    return Snapshot(
        body=body,
        spec=spec,
        status=status,
        ignored=reading.ignored,
        now=now,
        images=images,
        children=children,
        taken=taken,
        engine_pods=tuple(engines),
        trainer_pods=tuple(trainers),
        head_pods=tuple(heads),
        kuberay=kuberay.problem,
        route=route.observed(cluster, resource),
        pods=tuple(one.pod for one in reports),
        versions=versions,
        damaged=next((one.damaged for one in contents if one.damaged), {}),
        record=next((one.record for one in contents if one.record is not None), None),
        training=next((one.training for one in reports if one.training is not None), None),
        found=found,
        problems=(*problems, *illegible),
        strangers=pods.strangers,
        unfit=others.unfit,
        new_credentials={name: secrets.token_urlsafe(24) for name in NAMES},
        api_key=credentials.api_key,
        signing=credentials.signing,
        credential_problem=credentials.problem,
        unusable=credentials.unusable,
    )
