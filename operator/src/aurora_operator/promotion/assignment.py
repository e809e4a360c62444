"""Which pod serves which arm now: a pure function of the trial and the clock, so nothing needs remembering."""

import functools
import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Stable
from aurora_operator.promotion.progress import Pod


def strategy(spec: Spec) -> str:
    """The strategy that is used; Auto means Canary where there is a pod to spare, else Switchback."""
    if spec.promotion.strategy != "Auto":
        return spec.promotion.strategy
    return _by_replicas(spec)


def _by_replicas(spec: Spec) -> Literal["Canary", "Switchback"]:
    return "Canary" if spec.serving.replicas > 1 else "Switchback"


def dealing(spec: Spec) -> Literal["Canary", "Switchback"] | None:
    """How arms are dealt to pods, so that they can be compared; None where nothing is measured.

    Manual measures as Auto does, where there is a Prometheus.
    """
    match spec.promotion.strategy:
        case "Canary" | "Switchback" as chosen:
            return chosen
        case "Immediate":
            return None
        case "Manual" if spec.promotion.prometheus is None:
            return None
    return _by_replicas(spec)


SETTLED = {"ProvedBetter", "NotBetter", "NotWorthwhile"}
"""Reasons of a gate that has nothing more to measure."""


def awaits_person(spec: Spec, candidate: Candidate, now: datetime) -> bool:
    """Whether stable serves alone again, because all is measured and only a person decides."""
    over = now - candidate.since >= timedelta(seconds=spec.promotion.gate.max_duration_seconds)
    return spec.promotion.strategy == "Manual" and (over or candidate.verdict in SETTLED)


def is_dealt(spec: Spec, candidate: Candidate | None, now: datetime) -> bool:
    """Whether some pods are to serve the candidate at times."""
    return candidate is not None and not spec.suspend and not awaits_person(spec, candidate, now)


def share(spec: Spec) -> float:
    """Share of the traffic that a candidate gets."""
    if dealing(spec) != "Canary":
        return 0.5
    canary, pods = spec.promotion.canary, max(2, spec.serving.replicas)
    if canary.route is not None and canary.route.weight is not None:
        # Half of the canary pods serve the candidate at a time.
        return canary.route.weight / 200
    return min(canary.replicas, pods // 2) / pods


def trial_key(uid: str, candidate: Candidate) -> str:
    """Seeds the random assignment of a trial."""
    return f"{uid}/{candidate.version}/{candidate.since.isoformat()}"


def order(*parts: object) -> int:
    """A number that is random, and the same each time for the same parts."""
    return int.from_bytes(_digest(*parts)[:8], "big")


@functools.lru_cache(4096)
def _digest(*parts: object) -> bytes:
    return hashlib.blake2b("/".join(map(str, parts)).encode()).digest()


def _coin(trial: str, number: int) -> bool:
    """A trial's toss of a coin; a digest has 512 of them."""
    block, bit = divmod(number, 512)
    return bool(_digest(trial, "coins", block)[bit // 8] >> (bit % 8) & 1)


def slice_index(seconds: float, slice_seconds: int) -> int:
    """The time slice that a moment after the trial's start lies in."""
    return int(max(0.0, seconds) // slice_seconds)


def slice_length(spec: Spec, candidate: Candidate) -> int:
    """Seconds of a time slice of a trial, which keeps those that it began with."""
    return candidate.slice_seconds or spec.promotion.gate.slice_seconds


def block_index(spec: Spec, candidate: Candidate, now: datetime) -> int:
    """The block of a trial that a moment lies in."""
    return slice_index((now - candidate.since).total_seconds(), slice_length(spec, candidate)) // 2


def candidate_slice(trial: str, index: int) -> bool:
    """Whether the candidate serves in a slice: of each pair of slices one, at random, so that drift cancels."""
    return _coin(trial, index // 2) == (index % 2 == 0)


def canaries(trial: str, index: int, pods: Sequence[str], count: int) -> set[str]:
    """The pods that serve the candidate in a slice: two sets of equal size take turns in each block of two slices.

    Which pods are in the sets is drawn for each block, and a coin says which set begins. So each pod that serves
    the candidate serves stable in the same block, and is its own control.
    """
    block = index // 2
    ordered = sorted(pods, key=lambda pod: order(trial, block, pod))
    size = min(count, len(pods) // 2)
    first, second = ordered[:size], ordered[size : 2 * size]
    return set(first if candidate_slice(trial, index) else second)


def assignments(
    spec: Spec,
    stable: Stable,
    candidate: Candidate | None,
    uid: str,
    pods: Sequence[Pod],
    now: datetime,
    canary_pods: Collection[str] | None = None,
) -> dict[str, tuple[int, int]]:
    """What each pod should serve now: (version, steps) by pod name.

    Where a route deals requests, only its ``canary_pods`` take turns with the candidate; None: all do.
    """
    desired = {pod.name: (stable.version, stable.steps) for pod in pods}
    if candidate is None or not pods or not is_dealt(spec, candidate, now):
        return desired
    trial, length = trial_key(uid, candidate), slice_length(spec, candidate)
    index = slice_index((now - candidate.since).total_seconds(), length)
    on_trial = (candidate.version, candidate.steps)
    if candidate.resumes is not None and index // 2 < candidate.resumes:
        return desired
    match dealing(spec):
        case "Canary":
            names = [pod.name for pod in pods if canary_pods is None or pod.name in canary_pods]
            chosen = canaries(trial, index, names, spec.promotion.canary.replicas)
            desired |= dict.fromkeys(chosen, on_trial)
        case "Switchback" if candidate_slice(trial, index):
            desired |= dict.fromkeys(desired, on_trial)
    return desired


def next_slice(spec: Spec, candidate: Candidate | None, now: datetime) -> float | None:
    """Seconds until the assignment changes by itself."""
    if candidate is None or spec.suspend:
        return None
    length = timedelta(seconds=slice_length(spec, candidate))
    return (length - (now - candidate.since) % length).total_seconds()
