"""The life of candidates: which version is on trial, and what becomes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from aurora_core.protocol.agent import Record

from aurora_operator.api.promotion import Gate
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.promotion import anchor, budget, guards, manual, outcome, outlook, shown, succession, suspicion
from aurora_operator.promotion.assignment import awaits_person, dealing, strategy
from aurora_operator.promotion.challenge import begin, challenge_gate, newest
from aurora_operator.promotion.gate import HARMFUL, Decision, Evidence, GuardResult, Verdict, decide
from aurora_operator.promotion.manual import PAUSE, PROMOTE, REJECT
from aurora_operator.promotion.progress import Pod, Progress, Published
from aurora_operator.promotion.unheeded import unheeded
from aurora_operator.promotion.watch import Watch

SUPERSEDE = 1.1
"""A newer version takes an undecided candidate's place where its holdout accept length is this much better, and surely
better at all."""
SUPERSEDE_YOUNG = 1.03
"""The same, while the candidate has too little evidence for any estimate: then little is lost."""

_CLOCKS = timedelta(hours=1)
"""By how much clocks of two operators may differ."""


@dataclass(frozen=True)
class Found:
    """What Prometheus reported.

    Attributes:
        evidence: of the candidate, None without one.
        guards: of the candidate.
        watch: of stable without a candidate.
        stable_guards: of a stable version on probation.
    """

    evidence: Evidence | None = None
    guards: tuple[GuardResult, ...] = ()
    watch: Watch | None = None
    stable_guards: tuple[GuardResult, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What one reconcile found.

    Attributes:
        annotations: of the resource.
        versions: what is on the volume; None while no agent has reported it.
        record: what the volume records of promotion.
        pods: what serves.
        found: what Prometheus reported.
        held: why no trial can be dealt now; empty where one can.
        now: the time.
    """

    now: datetime
    annotations: Mapping[str, str]
    versions: Sequence[Published] | None = ()
    pods: Sequence[Pod] = ()
    found: Found = field(default_factory=Found)
    record: Record | None = None
    held: str = ""


def first_stable(spec: Spec, now: datetime) -> Stable:
    """Version 0: the user's draft at work, or (day-0) nothing that speculates yet."""
    return Stable(version=0, steps=0 if spec.day_zero else spec.draft.num_steps, since=now)


def on_probation(spec: Spec, stable: Stable, now: datetime) -> bool:
    """Whether a breached guard still undoes the promotion of stable."""
    return stable.previous is not None and now - stable.since < timedelta(seconds=spec.promotion.probation_seconds)


def _begun(candidate: Candidate | None, now: datetime) -> Candidate | None:
    """A trial, unless its beginning lies in the future, where it would stay until then: it begins again."""
    return None if candidate is not None and candidate.since > now + _CLOCKS else candidate


def advance(spec: Spec, status: Status, seen: Seen) -> Progress:
    """One analysis."""
    now = seen.now
    stable = status.stable or first_stable(spec, now)
    at = Progress(
        stable,
        _begun(status.candidate, now),
        status.decided,
        tuple(status.history),
        (),
        "NoCandidate",
        "no candidate",
        budget=status.budget,
        challenged=status.challenged,
        anchor=status.anchor,
        forecast=status.forecast,
    )
    if status.stable is None:
        if seen.versions is None:
            message = "no agent has reported yet which versions the volume has"
            return replace(at, reason="Starting", message=message, provisional=True)
        at = _restored(at, seen)
    at = replace(at, stable=_identified(at.stable, seen.versions or ()))
    stable = at.stable
    if seen.found.stable_guards:
        # One that is not known now neither adds to its row nor breaks it.
        breaches = guards.rows(seen.found.stable_guards, stable.breaches)
        stable = stable.model_copy(update={"breaches": breaches})
        at = replace(at, stable=stable)
    target = manual.rollback_target(spec, stable, at.decided, seen.annotations, seen.versions, now)
    if isinstance(target, Stable):
        return outcome.rolled_back(at, target, "manually", now)
    why = _reason_to_roll_back(spec, stable, seen)
    if why is not None:
        return outcome.rolled_back(at, manual.before(stable, now), why, now)
    newest_there = None if seen.versions is None else max((one.version for one in seen.versions), default=0)
    wrong = "; ".join(filter(None, (target, unheeded(seen.annotations, at, newest_there))))
    at = _on_trial(spec, at, seen)
    return replace(at, message=f"{wrong}; {at.message}", unheeded=wrong) if wrong else at


def _on_trial(spec: Spec, at: Progress, seen: Seen) -> Progress:
    """What becomes of the candidate, and which one is next."""
    now = seen.now
    if spec.suspend:
        return replace(at, reason="Suspended", message="spec.suspend is true: nothing is decided")
    if manual.is_paused(seen.annotations):
        if at.candidate is not None:
            at = outcome.paused(at, at.candidate, now)
        return replace(at, reason="Paused", message=f"annotation {PAUSE} is set: kubectl aurora resume ends it")
    if manual.switched_off(spec, seen.annotations):
        if at.candidate is not None:
            at = outcome.paused(at, at.candidate, now)
        return replace(at, reason="SpeculationSwitchedOff", message="no trial without drafting")
    if at.candidate is not None:
        at = _decide(spec, at, at.candidate, seen)
    if at.candidate is None and at.reason in {"NoCandidate", "Superseded"}:
        at = outlook.observed(spec, at, seen.found.watch, now)
        at = _begin(spec, at, seen)
    return at


def _restored(at: Progress, seen: Seen) -> Progress:
    """A resource without a status, on a volume that records what was stable: it is stable again."""
    kept, there = seen.record, {one.version for one in seen.versions or ()}
    if kept is None or kept.version not in there:
        return at
    stable = Stable(version=kept.version, steps=kept.steps, digest=kept.digest or None, since=seen.now)
    best = anchor.restored(kept.best, there)
    at = replace(at, stable=stable, anchor=best, decided=max(at.decided, kept.decided, kept.version))
    return at.reported(
        "StateRestored", f"the volume records version {kept.version} as stable, with {kept.steps} draft steps"
    )


def _identified(stable: Stable, versions: Sequence[Published]) -> Stable:
    """Stable with the digest of its manifest, once it is known."""
    if stable.digest is not None:
        return stable
    digest = next((one.digest for one in versions if one.version == stable.version), "")
    return stable.model_copy(update={"digest": digest}) if digest else stable


def _reason_to_roll_back(spec: Spec, stable: Stable, seen: Seen) -> str | None:
    if stable.previous is None:
        return None
    reported = [pod for pod in seen.pods if pod.live is not None]
    refused = [pod for pod in reported if stable.version in pod.failed and pod.live != stable.version]
    if reported and len(refused) == len(reported):
        return f"refused by every engine: {refused[0].failed[stable.version]}"
    if not spec.suspend and on_probation(spec, stable, seen.now):
        for guard in guards.confirmed(spec.promotion.guards, seen.found.stable_guards, stable.breaches):
            if guard.breached:
                return f"guard {guard.name}: {guard.message}"
    return None


def _decide(spec: Spec, at: Progress, candidate: Candidate, seen: Seen) -> Progress:
    settled = _without_the_gate(spec, at, candidate, seen)
    if settled is not None:
        return settled
    if strategy(spec) == "Manual" and (dealing(spec) is None or awaits_person(spec, candidate, seen.now)):
        return manual.waiting(at, candidate)
    gate = spec.promotion.gate if candidate.kind == "NewVersion" else challenge_gate(spec)
    evidence = seen.found.evidence or Evidence(problem="not measured")
    breaches = guards.rows(seen.found.guards, candidate.breaches)
    candidate = candidate.model_copy(update={"breaches": breaches})
    known = guards.confirmed(spec.promotion.guards, seen.found.guards, breaches)
    doubt = suspicion.suspected(spec.promotion.guards, seen.found.guards)
    if doubt is not None:
        candidate = suspicion.moved_back(spec, candidate, seen.now)
        again = suspicion.worn_out(candidate, doubt)
        known = known if again is None else (again, *known)
    decision = decide(gate, evidence, known, (seen.now - candidate.since).total_seconds(), candidate.alpha)
    if doubt is not None and decision.verdict is Verdict.WAIT:
        back = f"stable serves alone while guard {doubt.name} is breached: {doubt.message}"
        decision = replace(decision, reason="GuardSuspected", message=back)
    candidate = shown.of(candidate, evidence, decision, gate)
    at = replace(at, candidate=candidate, reason=decision.reason, message=decision.message)
    at = outlook.on_trial(spec, at, candidate, evidence, seen.now)
    if strategy(spec) == "Manual" and decision.reason not in HARMFUL:
        return at if evidence.problem else manual.waiting(at, candidate)
    return _concluded(gate, at, candidate, decision, guards.references(known), seen.now)


def _concluded(
    gate: Gate, at: Progress, candidate: Candidate, decision: Decision, references: Mapping[str, float], now: datetime
) -> Progress:
    """What the gate's decision makes of the candidate."""
    match decision.verdict:
        case Verdict.PROMOTE:
            doubt = anchor.below(gate, at.anchor, candidate)
            if doubt is not None:
                return outcome.withheld(at, candidate, doubt, now)
            return outcome.won(at, candidate, decision.message, now, references=references)
        case Verdict.END if candidate.kind == "NewVersion":
            return outcome.unproved(at, candidate, decision.message, now)
        case Verdict.REJECT | Verdict.END:
            return outcome.lost(at, candidate, f"{decision.reason}: {decision.message}", now)
        case Verdict.WAIT:
            return at


def _without_the_gate(spec: Spec, at: Progress, candidate: Candidate, seen: Seen) -> Progress | None:
    """Where a trial ends without evidence: it cannot be loaded, a person decided, a better one came."""
    now, version = seen.now, str(candidate.version)
    refused = [f"{pod.name}: {pod.failed[candidate.version]}" for pod in seen.pods if candidate.version in pod.failed]
    if refused:
        return outcome.lost(at, candidate, f"refused by {refused[0]}", now)
    if seen.annotations.get(REJECT) == version:
        return outcome.lost(at, candidate, "manually", now)
    successor = _successor(at, candidate, seen.versions)
    if successor is not None:
        return outcome.lost(at, candidate, successor, now, "Superseded")
    if candidate.kind == "NewVersion" and seen.annotations.get(PROMOTE) == version:
        return outcome.won(at, candidate, "manually", now, proved=False)
    if strategy(spec) == "Immediate":
        return outcome.won(at, candidate, "strategy Immediate asks for no proof", now, proved=False)
    return None


def _successor(at: Progress, candidate: Candidate, versions: Sequence[Published] | None) -> str | None:
    """Why a newer version takes a candidate's place, if one does."""
    fresh = newest(at.decided, at.stable, versions or ())
    if candidate.kind != "NewVersion" or fresh is None or fresh.version <= candidate.version:
        return None
    enough = SUPERSEDE if candidate.estimate is not None else SUPERSEDE_YOUNG
    found = succession.over(candidate, fresh, versions or ())
    if found is None or found.times < enough or found.lower <= 1:
        return None
    sure = f"at least {found.lower:.2f}, at most {found.upper:.2f}"
    same = "each compared with the one before on the same requests"
    return f"version {fresh.version} has {found.times:.2f} times its holdout accept length ({sure}), {same}"


_WHY = {
    "NewVersion": "",
    "TargetOnly": ": is speculation still faster than none?",
    "Again": ": is speculation faster than none by now?",
    "Previous": ": accept length fell, is the version before better?",
    "Best": ": may stable be below the best version so far?",
}


def _begin(spec: Spec, at: Progress, seen: Seen) -> Progress:
    candidate = begin(
        spec,
        at.stable,
        at.decided,
        seen.versions or (),
        seen.found.watch,
        seen.now,
        at.history,
        at.challenged,
        at.anchor,
    )
    if candidate is None:
        problem = seen.found.evidence.problem if seen.found.evidence else ""
        return replace(at, message=f"{at.message}; {problem}") if problem else at
    if seen.held:
        return replace(at, reason="RouteNotReady", message=f"version {candidate.version} waits: {seen.held}")
    if strategy(spec) not in {"Immediate", "Manual"}:
        alpha, left = budget.taken(spec.promotion.gate, at.budget, seen.now)
        why = outlook.why_not_yet(spec, at, candidate)
        if why is not None:
            return replace(at, reason="NotDecidable", message=f"version {candidate.version} waits: {why}")
        candidate = outlook.sliced(spec, candidate, seen.found.watch, alpha)
        candidate, at = candidate.model_copy(update={"alpha": alpha}), replace(at, budget=left)
    how = f"{strategy(spec)}, {candidate.metric}, {candidate.kind}"
    message = f"version {candidate.version} with {candidate.steps} steps is on trial ({how}){_WHY[candidate.kind]}"
    at = replace(at, candidate=candidate).reported("TrialBegan", message)
    return replace(at, reason="CollectingEvidence")
