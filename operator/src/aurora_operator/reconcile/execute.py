"""Carry out a plan: the status first, so that what is done next follows from what is written down."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

from aurora_core.budget import within
from aurora_core.errors import EngineError
from aurora_core.printable import printable
from aurora_core.protocol.agent import Record

from aurora_operator import metrics
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.progress import Note, Pod
from aurora_operator.reconcile import route
from aurora_operator.reconcile.observe import agent
from aurora_operator.reconcile.plan import Load, Plan
from aurora_operator.reconcile.snapshot import Key, Problem, Snapshot, key
from aurora_operator.render.identity import POD_SET

log = logging.getLogger(__name__)

_MOST_TEXT = 1000
_LOADS_AT_ONCE = 32
_LOAD_SECONDS = 60.0
"""Of all requests to one agent."""


def _load(load: Load, token: str) -> None:
    with closing(agent(load.pod, token)) as client, within(_LOAD_SECONDS):
        # Speculation off before a swap down, on after a swap up: nobody runs a draft that was not desired.
        if load.pod.steps != load.steps and load.steps == 0:
            client.set_steps(0)
        if load.pod.live != load.version:
            client.load(load.version, load.digest)
        if load.pod.steps != load.steps and load.steps:
            client.set_steps(load.steps)
        if load.pod.rate != load.rate:
            client.set_sample_rate(load.rate)


_FOR_GOOD = {400, 403, 404, 413, 415, 422}
"""Statuses of a refusal that the same request would meet again."""
_UNTYPED = "failed to create typed patch object"
"""Of server-side apply with a field that the kind has not; its status is 500."""


def _refusal(error: ClusterError, at: Key) -> Problem:
    """What an object was not taken for: until something is changed, or for now."""
    if error.status in _FOR_GOOD or _UNTYPED in str(error):
        return Problem("ApplyRefused", str(error), at)
    return Problem("ApplyFailing", f"{error} (tried again every few seconds)", at)


def _changed(cluster: Cluster, name: str, plan: Plan, namespace: str) -> list[Problem]:
    """Delete and apply children, each by itself: what the API server does not take of one keeps no other waiting."""
    problems = []
    for api_version, kind, child in plan.delete:
        at, do = (api_version, kind, child), partial(cluster.delete, api_version, kind, namespace, child)
        problems += _attempted(name, f"delete {kind} {child}", at, do)
    for body in plan.apply:
        what = f"apply {body['kind']} {body['metadata']['name']}"
        problems += _attempted(name, what, key(body), partial(cluster.apply, body))
    return problems


def _attempted(name: str, what: str, at: Key, change: Callable[[], object]) -> list[Problem]:
    """Make one change; what it was not taken for. The second word of ``what`` is the kind."""
    log.info("%s: %s", name, what)
    try:
        change()
    except ClusterError as error:
        metrics.failures.labels(name, "apply").inc()
        log.warning("%s: %s", name, printable(str(error), _MOST_TEXT))
        return [_refusal(error, at)]
    metrics.writes.labels(what.split()[1]).inc()
    return []


def _reported(cluster: Cluster, name: str, about: Mapping[str, Any], plan: Plan, namespace: str) -> list[Problem]:
    """What only the API server is asked for: objects, then Events."""
    problems = [*_changed(cluster, name, plan, namespace), *_dealt(cluster, name, plan.dealt, namespace)]
    for note in plan.notes:
        _report(cluster, name, about, note)
    return problems


def _dealt(cluster: Cluster, name: str, dealt: route.Dealt, namespace: str) -> list[Problem]:
    """Give pods their sets, then a route its weights."""
    problems, change = [], dealt.change
    changes: list[tuple[str, Key, Callable[[], object]]] = [
        (
            f"label Pod {pod} {pods}",
            ("v1", "Pod", pod),
            partial(cluster.patch, "v1", "Pod", namespace, pod, {"metadata": {"labels": {POD_SET: pods}}}),
        )
        for pod, pods in dealt.pod_sets.items()
    ]
    if change is not None:
        what = "patch {1} {2}".format(*change.at)
        changes.append(
            (f"{what} {change.rendered[0]}", change.at, partial(route.carried_out, cluster, namespace, change))
        )
    for what, at, do in changes:
        problems += _attempted(name, what, at, do)
    return problems


def _report(cluster: Cluster, name: str, about: Mapping[str, Any], note: Note) -> None:
    """An Event; the status says the same, and a quota of Events must not keep back what follows."""
    log.info("%s %s: %s", name, note.reason, printable(note.message, _MOST_TEXT))
    metrics.verdicts.labels(name, note.reason).inc()
    try:
        cluster.event(about, note.kind, note.reason, printable(note.message, _MOST_TEXT))
    except ClusterError as error:
        metrics.failures.labels(name, "event").inc()
        log.warning("%s: %s", name, printable(str(error), _MOST_TEXT))
        return
    metrics.writes.labels("event").inc()


def _loaded(name: str, load: Load, token: str) -> Problem | None:
    """Have a pod serve what it should; why it does not, where it does not."""
    try:
        _load(load, token)
    except EngineError as error:
        # The next reconcile reads the pod's own state; a refused version is rejected there.
        metrics.failures.labels(name, "load").inc()
        message = f"{load.pod.name} did not take version {load.version}: {error}"
        log.warning("%s: %s", name, message)
        return Problem("LoadFailing", message)
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


def execute(cluster: Cluster, snapshot: Snapshot, plan: Plan) -> tuple[Problem, ...]:
    """Carry out a plan: after the status, objects and pods at the same time, so that neither waits for the other.

    Returns:
        What was not taken, and why, pods first; the next reconcile shows it, and tries again.

    Raises:
        ClusterError: the status could not be written, and nothing was done that would follow from it.
    """
    resource = snapshot.resource
    name = resource.full_name
    if plan.status is not None:
        cluster.write_status(
            resource.namespace, resource.name, plan.status, snapshot.body["metadata"]["resourceVersion"]
        )
        metrics.writes.labels("status").inc()
    token = snapshot.own_credentials.get("agent", "")
    if not (plan.loads or plan.record):
        return tuple(_reported(cluster, name, snapshot.body, plan, resource.namespace))
    with ThreadPoolExecutor(1) as other:
        # A webhook may take half a minute to time out, for each object; a rollback must not wait for it.
        changes = other.submit(_reported, cluster, name, snapshot.body, plan, resource.namespace)
        problems = _load_all(name, plan.loads, token)
        if plan.record is not None:
            problems += _recorded(name, *plan.record, token)
        return (*problems, *changes.result())
