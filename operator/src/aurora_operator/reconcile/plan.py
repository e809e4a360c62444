"""What to do: a pure function of what was observed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aurora_core.protocol.agent import Record

from aurora_operator.promotion import anchor
from aurora_operator.promotion.assignment import assignments, next_slice
from aurora_operator.promotion.progress import Note, Pod, Progress
from aurora_operator.promotion.trial import Seen, advance
from aurora_operator.reconcile import contest, jobs, reported, rival, route, speculation
from aurora_operator.reconcile.drift import APPLIED, HASH, lost, rendered
from aurora_operator.reconcile.snapshot import Key, Snapshot, key, succeeded
from aurora_operator.render import config, credentials, network, ranks, ray, serving, training
from aurora_operator.render.pods import digest
from aurora_operator.render.ray import API, KIND

RESYNC_SECONDS = 7.0
"""What no watch covers is put back within ten seconds, also by a reconcile that waits for Prometheus."""
SETTLE_SECONDS = 2.0
"""After something was done, until its effect is checked."""


@dataclass(frozen=True)
class Load:
    """An agent's order: serve this version, with these steps, capturing this share."""

    pod: Pod
    version: int
    steps: int
    rate: float
    digest: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything to do; ``record`` is what a pod's agent must keep on the volume.

    ``undone`` says who made it necessary to apply an object again that was there. ``dealt`` is what a route needs.
    """

    status: Mapping[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    delete: tuple[Key, ...] = ()
    apply: tuple[Mapping[str, Any], ...] = ()
    undone: Mapping[Key, str] = field(default_factory=dict)
    loads: tuple[Load, ...] = ()
    record: tuple[Pod, Record] | None = None
    dealt: route.Dealt = field(default_factory=route.Dealt)
    again_seconds: float = RESYNC_SECONDS


def _stamped(body: Mapping[str, Any]) -> dict[str, Any]:
    annotations = {**body["metadata"].get("annotations", {}), HASH: digest(body)}
    if body["kind"] in {"Job", KIND}:
        # Only its pods decide whether it must be recreated; it can be suspended, and a group resized, as it is.
        annotations |= {HASH: digest(ray.settled(body) if body["kind"] == KIND else body["spec"]["template"])}
        annotations |= {APPLIED: digest(body)}
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def _signed(body: dict[str, Any], operator: str) -> dict[str, Any]:
    """With the installation that acts."""
    if operator:
        body["metadata"]["annotations"] = {**body["metadata"].get("annotations", {}), rival.STAMP: operator}
    return body


@dataclass(frozen=True)
class _Children:
    desired: list[dict[str, Any]] = field(default_factory=list)

    def add(self, *bodies: Mapping[str, Any] | None) -> None:
        self.desired.extend(_stamped(body) for body in bodies if body is not None)


def _stamp(snapshot: Snapshot, at: Key, *values: str) -> str:
    """What pods were started with; a credential that cannot work restarts no pod that still has one that does."""
    if snapshot.credential_problem:
        return credentials.started_with(snapshot.children.get(at) or {})
    return credentials.stamp(snapshot.credentials, *values, *snapshot.signing)


def _children(snapshot: Snapshot, progress: Progress) -> list[dict[str, Any]]:
    """All objects that should exist now."""
    resource, stable, candidate = snapshot.resource, progress.stable, progress.candidate
    in_use = {stable.version, *(pod.live for pod in snapshot.pods if pod.live is not None)}
    if stable.previous is not None:
        in_use.add(stable.previous)
    if progress.anchor is not None:
        in_use.add(progress.anchor.version)
    if candidate is not None:
        in_use.add(candidate.version)
    children = _Children()
    children.add(
        # First: no pod runs before what limits it.
        *network.policies(resource, snapshot.network),
        training.claim(resource),
        config.config_map(resource),
        _signed(
            config.desired_map(
                resource,
                stable.version,
                speculation.steps(snapshot, stable.steps),
                stable.digest or "",
                None if progress.provisional else in_use,
            ),
            snapshot.operator,
        ),
    )
    stored = snapshot.own_credentials.keys() == snapshot.credentials.keys()
    if not stored:
        children.add(config.secret(resource, snapshot.credentials))
    unsigned = "weights.signing" in snapshot.unusable
    if "target.tokenSecret" not in snapshot.unusable and not unsigned:
        # Where engines have run, their volume is, and they may hold the GPUs that this pod would wait for.
        engines = any(at[1] in {"Deployment", KIND} for at in snapshot.children)
        decides_node = resource.one_node and not engines and resource.adopted is None
        children.add(training.init_job(resource, snapshot.images, snapshot.claim_uid, decides_node=decides_node))
    # Credentials that are not stored are others at every reconcile: pods that were made with them would never settle.
    engines_wait = "serving.apiKeySecret" in snapshot.unusable or unsigned or not stored
    if snapshot.prepared:
        if resource.adopted is None:
            # Not without the key either: what should be closed is never served open.
            children.add(serving.service(resource), *serving.pod_sets(resource))
            children.add(*(_serving(snapshot) if not engines_wait else ()))
            children.add(serving.disruption_budget(resource))
        children.add(training.trainer_service(resource), ranks.service(resource))
        if stored and not (resource.online or unsigned or jobs.leaves_queue(snapshot)):
            stamp = _stamp(snapshot, ("batch/v1", "Job", resource.trainer), snapshot.credentials["samples"])
            children.add(training.trainer_job(resource, snapshot.images, stamp))
    return children.desired


def _serving(snapshot: Snapshot) -> list[dict[str, Any]]:
    """What makes engine pods; in mode Online the trainer's as well."""
    resource, images = snapshot.resource, snapshot.images
    at: Key = (API, KIND, resource.ray) if resource.online else ("apps/v1", "Deployment", resource.engine)
    stamp = _stamp(snapshot, at, *snapshot.credentials.values(), snapshot.api_key)
    if not resource.online:
        return [serving.deployment(resource, images, stamp)]
    return [ray.cluster(resource, images, stamp)] if snapshot.kuberay is None else []


def _no_longer_desired(snapshot: Snapshot, desired: list[dict[str, Any]]) -> set[Key]:
    """Policies that nobody asked for; once there is anything to serve, a budget for one pod, and an unused Service."""
    kept = set(map(key, desired))
    kinds = {"NetworkPolicy", "Service", "PodDisruptionBudget"} if snapshot.prepared else {"NetworkPolicy"}
    return {at for at in snapshot.children if at[1] in kinds and at not in kept}


def _must_apply(snapshot: Snapshot, body: Mapping[str, Any]) -> bool:
    at = key(body)
    live = snapshot.children.get(at)
    if live is None:
        return True
    if live["metadata"].get("deletionTimestamp"):
        return False
    if body["kind"] == "Job" and succeeded(live):
        return False
    if body["kind"] == "Secret" or jobs.rendered_as(snapshot, at, live) != rendered(body):
        # Credentials are only rendered where some are missing.
        return True
    # A bound claim's spec is settled but for its size, which its owner may have grown: ours is asked for
    # once, when it changes, and not held against theirs.
    return body["kind"] != "PersistentVolumeClaim" and bool(lost(body, live))


def _loads(snapshot: Snapshot, progress: Progress) -> list[Load]:
    resource = snapshot.resource
    desired = assignments(
        snapshot.spec,
        progress.stable,
        progress.candidate,
        resource.uid,
        snapshot.pods,
        snapshot.now,
        route.eligible(snapshot),
    )
    if progress.provisional:
        return []
    desired = {name: (version, speculation.steps(snapshot, steps)) for name, (version, steps) in desired.items()}
    rate = 0.0 if snapshot.spec.suspend else snapshot.spec.samples.sample_rate
    digests = {progress.stable.version: progress.stable.digest or ""}
    if progress.candidate is not None:
        digests.setdefault(progress.candidate.version, progress.candidate.digest or "")
    return [
        Load(pod, *desired[pod.name], rate, digests.get(desired[pod.name][0], ""))
        for pod in snapshot.pods
        if pod.live is not None and (pod.live, pod.steps, pod.rate) != (*desired[pod.name], rate)
    ]


def _record(snapshot: Snapshot, progress: Progress) -> tuple[Pod, Record] | None:
    """What the volume should record of promotion, where it does not; and the pod whose agent can write it."""
    stable = progress.stable
    kept = Record(
        version=stable.version,
        steps=stable.steps,
        digest=stable.digest or "",
        decided=max(progress.decided, 0),
        best=anchor.recorded(progress.anchor),
    )
    writers = [pod for pod in snapshot.pods if pod.live is not None and not pod.volume_problem]
    if progress.provisional or snapshot.versions is None or kept == snapshot.record or not writers:
        return None
    return writers[0], kept


def plan(snapshot: Snapshot) -> Plan:
    """What to do about what was observed."""
    seen = Seen(
        now=snapshot.now,
        annotations=snapshot.body["metadata"].get("annotations") or {},
        versions=snapshot.versions,
        record=snapshot.record,
        pods=snapshot.pods,
        found=snapshot.found,
        held=route.held(snapshot),
    )
    progress = advance(snapshot.spec, snapshot.status, seen)
    desired = _children(snapshot, progress)
    taken = snapshot.taken & set(map(key, desired))
    delete = jobs.to_replace(snapshot, desired) | _no_longer_desired(snapshot, desired)
    apply = [
        jobs.with_its_template(snapshot, body)
        for body in desired
        if key(body) not in delete | taken
        and _must_apply(snapshot, body)
        and not contest.held(snapshot.applied.get(key(body)), rendered(body), snapshot.now)
    ]
    there = [(body, snapshot.children[key(body)]) for body in apply if key(body) in snapshot.children]
    observed = reported.status(snapshot, progress, taken)
    status = observed.model_dump(mode="json", by_alias=True)
    before = snapshot.status
    notes = (*progress.notes, *speculation.notes(before, observed.conditions), *reported.notes(before, progress))
    loads, dealt = _loads(snapshot, progress), route.dealt(snapshot, progress.candidate)
    waits = [RESYNC_SECONDS]
    if progress.candidate is not None:
        waits.append(float(snapshot.spec.promotion.gate.interval_seconds))
    to_slice = next_slice(snapshot.spec, progress.candidate, snapshot.now)
    if to_slice is not None:
        waits.append(to_slice + 0.2)
    # What was refused just now, or not taken, is tried again at the usual pace.
    if (loads or apply or delete or notes or dealt != route.Dealt()) and not snapshot.problems:
        waits.append(SETTLE_SECONDS)
    return Plan(
        status=None if status == snapshot.status.model_dump(mode="json", by_alias=True) else status,
        notes=notes,
        delete=tuple(sorted(delete)),
        apply=tuple(apply),
        undone={key(body): contest.culprit(body, live) for body, live in there},
        loads=tuple(loads),
        record=_record(snapshot, progress),
        dealt=dealt,
        again_seconds=min(waits),
    )
