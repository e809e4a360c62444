"""Carry out a plan: the status first, so that what is done next follows from what is written down."""

import logging
from contextlib import closing

from aurora_core.errors import EngineError

from aurora_operator import metrics
from aurora_operator.clients.cluster import Cluster, decoded
from aurora_operator.reconcile.observe import agent
from aurora_operator.reconcile.plan import Load, Plan
from aurora_operator.reconcile.world import World

log = logging.getLogger(__name__)


def _load(load: Load, token: str) -> None:
    with closing(agent(load.pod, token)) as client:
        # Speculation off before a swap down, on after a swap up: nobody runs a draft that was not wanted.
        if load.pod.steps != load.steps and load.steps == 0:
            client.set_steps(0)
        if load.pod.live != load.version:
            client.load(load.version)
        if load.pod.steps != load.steps and load.steps:
            client.set_steps(load.steps)
        if load.pod.rate != load.rate:
            client.set_sample_rate(load.rate)


def execute(cluster: Cluster, world: World, plan: Plan) -> tuple[str, ...]:
    """Carry out a plan.

    Returns:
        What agents did not do, and why; the next look shows it.

    Raises:
        ClusterError: the API server refused or does not answer; the next look finds out how far this got.
    """
    resource = world.resource
    name = f"{resource.namespace}/{resource.name}"
    if plan.status is not None:
        cluster.write_status(resource.namespace, resource.name, plan.status, world.body["metadata"]["resourceVersion"])
        metrics.writes.labels("status").inc()
    for note in plan.notes:
        log.info("%s %s: %s", name, note.reason, note.message)
        cluster.event(world.body, note.kind, note.reason, note.message)
        metrics.writes.labels("event").inc()
        metrics.verdicts.labels(name, note.reason).inc()
    for api_version, kind, child in plan.delete:
        log.info("%s: %s %s is made anew, its template cannot be changed", name, kind, child)
        cluster.delete(api_version, kind, resource.namespace, child)
        metrics.writes.labels(kind).inc()
    for body in plan.apply:
        log.info("%s: apply %s %s", name, body["kind"], body["metadata"]["name"])
        cluster.apply(body)
        metrics.writes.labels(body["kind"]).inc()
    token = decoded(world.children.get(("v1", "Secret", resource.keys)), "agent")
    problems = []
    for load in plan.loads:
        try:
            _load(load, token)
        except EngineError as error:
            # The pod's own state tells the next look; a refused version is rejected there.
            metrics.failures.labels(name, "load").inc()
            problems.append(f"{load.pod.name} did not take version {load.version}: {error}")
            log.warning("%s: %s did not take version %d: %s", name, load.pod.name, load.version, error)
        else:
            log.info("%s: %s serves version %d with %d steps", name, load.pod.name, load.version, load.steps)
            metrics.loads.labels(name).inc()
    return tuple(problems)
