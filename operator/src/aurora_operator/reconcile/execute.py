"""Carry out a plan: the status first, so that what is done next follows from what is written down."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from aurora_core.errors import EngineError
from aurora_core.exchange import within
from aurora_core.protocol.agent import Record

from aurora_operator import metrics
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile.observe import agent
from aurora_operator.reconcile.plan import Load, Plan
from aurora_operator.reconcile.world import Problem, World

log = logging.getLogger(__name__)

_FOR_GOOD = {400, 403, 422}
"""Answers that stay the same until somebody changes something: invalid, or not allowed here (quota, policy)."""


_LOADS_AT_ONCE = 32
_LOAD_SECONDS = 60.0
"""Of all requests to one agent."""


def _load(load: Load, token: str) -> None:
    with closing(agent(load.pod, token)) as client, within(_LOAD_SECONDS):
        # Speculation off before a swap down, on after a swap up: nobody runs a draft that was not wanted.
        if load.pod.steps != load.steps and load.steps == 0:
            client.set_steps(0)
        if load.pod.live != load.version:
            client.load(load.version, load.digest)
        if load.pod.steps != load.steps and load.steps:
            client.set_steps(load.steps)
        if load.pod.rate != load.rate:
            client.set_sample_rate(load.rate)


def _apply(cluster: Cluster, body: Mapping[str, Any]) -> str | None:
    """Apply a child; the API server's words where it will never take it as it is."""
    try:
        cluster.apply(body)
    except ClusterError as error:
        if error.status not in _FOR_GOOD:
            raise
        return str(error)
    return None


def _loaded(name: str, load: Load, token: str) -> Problem | None:
    """Have a pod serve what it should; why it does not, where it does not."""
    try:
        _load(load, token)
    except EngineError as error:
        # The pod's own state tells the next look; a refused version is rejected there.
        metrics.failures.labels(name, "load").inc()
        words = f"{load.pod.name} did not take version {load.version}: {error}"
        log.warning("%s: %s", name, words)
        return Problem("LoadFailing", words)
    log.info("%s: %s serves version %d with %d steps", name, load.pod.name, load.version, load.steps)
    metrics.loads.labels(name).inc()
    return None


def _load_all(name: str, loads: Sequence[Load], token: str) -> list[Problem]:
    """All pods at once: a slice begins for all of them, and one that is slow keeps none waiting."""
    if not loads:
        return []
    with ThreadPoolExecutor(min(_LOADS_AT_ONCE, len(loads))) as pool:
        return [problem for problem in pool.map(lambda load: _loaded(name, load, token), loads) if problem]


def _recorded(name: str, pod: Pod, record: Record, token: str) -> list[Problem]:
    """Have a pod's agent keep the record of promotion on the volume."""
    try:
        with closing(agent(pod, token)) as client:
            client.keep_record(record)
    except EngineError as error:
        metrics.failures.labels(name, "record").inc()
        message = f"{pod.name} cannot record on the volume that version {record.version} is stable: {error}"
        log.warning("%s: %s", name, message)
        return [Problem("RecordFailing", message)]
    return []


def execute(cluster: Cluster, world: World, plan: Plan) -> tuple[Problem, ...]:
    """Carry out a plan.

    Returns:
        What was refused, and why; the next look shows it.

    Raises:
        ClusterError: the API server does not answer, or something changed meanwhile; the next look finds out how far
            this got.
    """
    resource = world.resource
    name = resource.full_name
    problems: list[Problem] = []
    if plan.status is not None:
        cluster.write_status(resource.namespace, resource.name, plan.status, world.body["metadata"]["resourceVersion"])
        metrics.writes.labels("status").inc()
    for note in plan.notes:
        log.info("%s %s: %s", name, note.reason, note.message)
        cluster.event(world.body, note.kind, note.reason, note.message)
        metrics.writes.labels("event").inc()
        metrics.verdicts.labels(name, note.reason).inc()
    for api_version, kind, child in plan.delete:
        log.info("%s: delete %s %s", name, kind, child)
        cluster.delete(api_version, kind, resource.namespace, child)
        metrics.writes.labels(kind).inc()
    for body in plan.apply:
        log.info("%s: apply %s %s", name, body["kind"], body["metadata"]["name"])
        refused = _apply(cluster, body)
        if refused is None:
            metrics.writes.labels(body["kind"]).inc()
            continue
        metrics.failures.labels(name, "apply").inc()
        problems.append(Problem("ApplyRefused", refused))
        log.warning("%s: %s", name, refused)
    token = world.own_keys.get("agent", "")
    problems += _load_all(name, plan.loads, token)
    if plan.record is not None:
        problems += _recorded(name, *plan.record, token)
    return tuple(problems)
