"""The life of candidates: which version is on trial, what becomes of it, and what each pod should serve meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Entry, Stable, Status
from aurora_operator.promotion.assignment import canaries, candidate_slice, slice_index
from aurora_operator.promotion.gate import Decision, Evidence, GuardResult, Verdict, decide

SUPERSEDE = 1.1
"""A newer version takes an undecided candidate's place where its holdout accept length is this much better."""
HISTORY = 10
PROMOTE, REJECT, ROLL_BACK = (f"aurora-operator.io/{word}" for word in ("promote", "reject", "rollback"))
"""Annotations by which a person decides; the value is the version that is meant, so that each acts once."""


@dataclass(frozen=True)
class Published:
    """A version on the volume."""

    version: int
    holdout: float | None


@dataclass(frozen=True)
class Pod:
    """An engine pod, as its agent tells of it.

    Attributes:
        name, address: of the pod.
        live, steps: what it serves now; None where the agent does not answer.
        rate: share of requests that it captures.
        failed: versions that it refused, and why.
        problem: why the agent does not answer.
    """

    name: str
    address: str
    live: int | None = None
    steps: int | None = None
    rate: float | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Note:
    """An Event for people."""

    kind: str
    reason: str
    message: str


@dataclass(frozen=True)
class Progress:
    """Where promotion stands after a look."""

    stable: Stable
    candidate: Candidate | None
    judged: int
    history: tuple[Entry, ...]
    notes: tuple[Note, ...]
    reason: str
    message: str


def strategy(spec: Spec) -> str:
    """The strategy that is used; Auto means Canary where there is a pod to spare, else Switchback."""
    if spec.promotion.strategy != "Auto":
        return spec.promotion.strategy
    return "Canary" if spec.serving.replicas > 1 else "Switchback"


def first_stable(spec: Spec, now: datetime) -> Stable:
    """Version 0: the user's draft at work, or (day-0) nothing that speculates yet."""
    return Stable(version=0, steps=0 if spec.mode == "ExternalWithoutDraft" else spec.draft.num_steps, since=now)


def metric(stable: Stable) -> Literal["AcceptLength", "DecodeSpeed"]:
    """Accept length says nothing where stable does not speculate; speed does."""
    return "AcceptLength" if stable.steps else "DecodeSpeed"


def trial_key(uid: str, candidate: Candidate) -> str:
    """Seeds the random assignment of a trial."""
    return f"{uid}/{candidate.version}/{candidate.since.isoformat()}"


def _entry(verdict: str, reason: str, candidate: Candidate, now: datetime) -> Entry:
    return Entry(
        time=now,
        version=candidate.version,
        verdict=verdict,
        reason=reason,
        estimate=candidate.estimate,
        lower=candidate.lower,
        upper=candidate.upper,
        requests=candidate.requests,
    )


def _promoted(spec: Spec, at: Progress, reason: str, now: datetime) -> Progress:
    candidate = at.candidate
    assert candidate is not None  # noqa: S101 (callers have one)
    length = candidate.value if candidate.metric == "AcceptLength" else candidate.holdout_accept_length
    stable = Stable(
        version=candidate.version,
        steps=spec.draft.num_steps,
        since=now,
        accept_length=length,
        previous=at.stable.version,
        previous_steps=at.stable.steps,
    )
    note = Note("Normal", "Promoted", f"version {candidate.version} is stable: {reason}")
    history = (_entry("Promoted", reason, candidate, now), *at.history)[:HISTORY]
    judged = max(at.judged, candidate.version)
    return replace(
        at, stable=stable, candidate=None, judged=judged, history=history, notes=(*at.notes, note),
        reason="Promoted", message=note.message,
    )  # fmt: skip


def _dropped(at: Progress, verdict: str, reason: str, now: datetime) -> Progress:
    candidate = at.candidate
    assert candidate is not None  # noqa: S101 (callers have one)
    kind = "Normal" if verdict == "Superseded" else "Warning"
    note = Note(kind, verdict, f"version {candidate.version}: {reason}")
    history = (_entry(verdict, reason, candidate, now), *at.history)[:HISTORY]
    judged = max(at.judged, candidate.version)
    return replace(
        at, candidate=None, judged=judged, history=history, notes=(*at.notes, note),
        reason=verdict, message=note.message,
    )  # fmt: skip


def _rolled_back(at: Progress, now: datetime) -> Progress:
    stable = at.stable
    assert stable.previous is not None  # noqa: S101 (the caller looked)
    back = Stable(version=stable.previous, steps=stable.previous_steps or 0, since=now)
    reason = f"rolled back from version {stable.version} to {stable.previous} by hand"
    entry = Entry(time=now, version=stable.version, verdict="RolledBack", reason=reason)
    return replace(
        at, stable=back, candidate=None, judged=max(at.judged, stable.version),
        history=(entry, *at.history)[:HISTORY], notes=(*at.notes, Note("Warning", "RolledBack", reason)),
        reason="RolledBack", message=reason,
    )  # fmt: skip


def _newest(at: Progress, versions: Sequence[Published]) -> Published | None:
    fresh = [one for one in versions if one.version > max(at.judged, at.stable.version)]
    return max(fresh, key=lambda one: one.version, default=None)


def _measured(candidate: Candidate, evidence: Evidence, decision: Decision) -> Candidate:
    interval = decision.interval
    return candidate.model_copy(
        update={
            "looks": candidate.looks + 1,
            "requests": evidence.candidate_requests,
            "value": _rounded(evidence.candidate.ratio),
            "stable_value": _rounded(evidence.stable.ratio),
            "estimate": _rounded(interval.estimate if interval else None),
            "lower": _rounded(interval.lower if interval else None),
            "upper": _rounded(interval.upper if interval else None),
            "verdict": decision.reason,
        }
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def advance(
    spec: Spec,
    status: Status,
    annotations: Mapping[str, str],
    versions: Sequence[Published],
    pods: Sequence[Pod],
    evidence: Evidence | None,
    guards: Sequence[GuardResult],
    now: datetime,
) -> Progress:
    """One look.

    Args:
        spec, status, annotations: of the resource.
        versions: what is on the volume.
        pods: what serves.
        evidence: what was measured of ``status.candidate``; None without one.
        guards: what its guards say.
        now: the time.
    """
    stable = status.stable or first_stable(spec, now)
    at = Progress(stable, status.candidate, status.judged, tuple(status.history), (), "NoCandidate", "nothing to judge")
    if annotations.get(ROLL_BACK) == str(stable.version) and stable.previous is not None:
        return _rolled_back(at, now)
    if spec.suspend:
        return replace(at, reason="Suspended", message="spec.suspend is true: nothing is judged")
    if at.candidate is not None:
        at = _judge(spec, at, annotations, versions, pods, evidence or Evidence(problem="not measured"), guards, now)
    if at.candidate is None and at.reason in {"NoCandidate", "Superseded"}:
        at = _begin(spec, at, versions, now)
    return at


def _judge(
    spec: Spec,
    at: Progress,
    annotations: Mapping[str, str],
    versions: Sequence[Published],
    pods: Sequence[Pod],
    evidence: Evidence,
    guards: Sequence[GuardResult],
    now: datetime,
) -> Progress:
    candidate = at.candidate
    assert candidate is not None  # noqa: S101 (the caller looked)
    refused = [f"{pod.name}: {pod.failed[candidate.version]}" for pod in pods if candidate.version in pod.failed]
    dropped = _reason_to_drop(at, candidate, annotations, versions, refused)
    if dropped is not None:
        return _dropped(at, *dropped, now)
    by_hand = annotations.get(PROMOTE) == str(candidate.version)
    if by_hand or strategy(spec) == "Immediate":
        return _promoted(spec, at, "by hand" if by_hand else "strategy Immediate asks for no proof", now)
    if strategy(spec) == "Manual":
        return replace(at, reason="WaitingForApproval", message=f"kubectl aurora promote: version {candidate.version}")
    decision = decide(spec.promotion.gate, evidence, guards, (now - candidate.since).total_seconds())
    at = replace(
        at, candidate=_measured(candidate, evidence, decision), reason=decision.reason, message=decision.message
    )
    if decision.verdict is Verdict.PROMOTE:
        return _promoted(spec, at, decision.message, now)
    if decision.verdict is Verdict.REJECT:
        return _dropped(at, "Rejected", f"{decision.reason}: {decision.message}", now)
    return at


def _reason_to_drop(
    at: Progress,
    candidate: Candidate,
    annotations: Mapping[str, str],
    versions: Sequence[Published],
    refused: Sequence[str],
) -> tuple[str, str] | None:
    """Verdict and reason, where a trial ends without the gate."""
    if refused:
        return "Rejected", f"refused by {refused[0]}"
    if annotations.get(REJECT) == str(candidate.version):
        return "Rejected", "by hand"
    newest, merit = _newest(at, versions), candidate.holdout_accept_length
    if newest is not None and newest.version > candidate.version and newest.holdout and merit:
        gain = newest.holdout / merit
        if gain >= SUPERSEDE:
            return "Superseded", f"version {newest.version} has {gain:.2f} times its holdout accept length"
    return None


def _begin(spec: Spec, at: Progress, versions: Sequence[Published], now: datetime) -> Progress:
    newest = _newest(at, versions)
    if newest is None:
        return at
    measure = metric(at.stable)
    candidate = Candidate(
        version=newest.version,
        since=now,
        metric=measure,
        holdout_accept_length=_rounded(newest.holdout),
    )
    note = Note("Normal", "TrialBegan", f"version {newest.version} is on trial ({strategy(spec)}, {measure})")
    return replace(at, candidate=candidate, notes=(*at.notes, note), reason="CollectingEvidence", message=note.message)


def assignments(
    spec: Spec, stable: Stable, candidate: Candidate | None, uid: str, pods: Sequence[Pod], now: datetime
) -> dict[str, tuple[int, int]]:
    """What each pod should serve now: (version, steps) by pod name."""
    wanted = {pod.name: (stable.version, stable.steps) for pod in pods}
    if candidate is None or spec.suspend or not pods:
        return wanted
    trial, length = trial_key(uid, candidate), spec.promotion.gate.slice_seconds
    index = slice_index((now - candidate.since).total_seconds(), length)
    on_trial = (candidate.version, spec.draft.num_steps)
    match strategy(spec):
        case "Canary":
            chosen = canaries(trial, index, [pod.name for pod in pods], spec.promotion.canary.replicas)
            wanted |= dict.fromkeys(chosen, on_trial)
        case "Switchback" if candidate_slice(trial, index):
            wanted |= dict.fromkeys(wanted, on_trial)
    return wanted


def next_slice(spec: Spec, candidate: Candidate | None, now: datetime) -> float | None:
    """Seconds until the assignment changes by itself."""
    if candidate is None or spec.suspend:
        return None
    length = timedelta(seconds=spec.promotion.gate.slice_seconds)
    return (length - (now - candidate.since) % length).total_seconds()
