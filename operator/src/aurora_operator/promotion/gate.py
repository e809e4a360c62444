"""The gate: evidence in, verdict and reason out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.statistics import Interval, Sums, compare


class Verdict(StrEnum):
    """What to do with the candidate now."""

    WAIT = "Wait"
    PROMOTE = "Promote"
    REJECT = "Reject"


@dataclass(frozen=True)
class Evidence:
    """What was measured since the trial began, both sides live at the same time.

    Attributes:
        candidate, stable: sums over units, which are time slices, of all engines (Switchback) or of each (Canary).
        candidate_requests, stable_requests: finished requests behind them.
        problem: why there is no evidence, where there is none.
    """

    candidate: Sums = field(default_factory=Sums)
    stable: Sums = field(default_factory=Sums)
    candidate_requests: int = 0
    stable_requests: int = 0
    problem: str = ""


@dataclass(frozen=True)
class GuardResult:
    """A guard's answer: breached, fine, or (None) not known."""

    name: str
    breached: bool | None
    message: str


@dataclass(frozen=True)
class Decision:
    """The gate's answer."""

    verdict: Verdict
    reason: str
    message: str
    interval: Interval | None = None


def _missing(gate: Gate, evidence: Evidence) -> str | None:
    """What evidence still lacks before any verdict."""
    for arm, count in (("candidate", evidence.candidate_requests), ("stable", evidence.stable_requests)):
        if count < gate.min_requests:
            return f"{arm} has finished {count} of {gate.min_requests} requests"
    for arm, sums in (("candidate", evidence.candidate), ("stable", evidence.stable)):
        if sums.n < gate.min_slices:
            return f"{arm} has had {sums.n:.0f} of {gate.min_slices} time slices"
    return None


def decide(gate: Gate, evidence: Evidence, guards: Sequence[GuardResult], elapsed_seconds: float) -> Decision:
    """Decide about a candidate; never promotes on missing data, and a breached guard rejects at once.

    A gate that is blind (no Prometheus) waits past the trial's end: that says nothing of the candidate.
    """
    for guard in guards:
        if guard.breached:
            return Decision(Verdict.REJECT, "GuardBreached", f"guard {guard.name}: {guard.message}")
    missing = evidence.problem or _missing(gate, evidence)
    interval = None if missing else compare(evidence.candidate, evidence.stable, gate.confidence)
    over = elapsed_seconds >= gate.max_duration_seconds
    if interval is None:
        message = missing or "too little evidence for an interval"
        if over and not evidence.problem:
            return Decision(Verdict.REJECT, "NoEvidence", f"{message} after {elapsed_seconds:.0f} s")
        return Decision(Verdict.WAIT, "NoData" if evidence.problem else "CollectingEvidence", message)
    return _weigh(gate, interval, next((guard for guard in guards if guard.breached is None), None), over=over)


def _weigh(gate: Gate, interval: Interval, unknown: GuardResult | None, *, over: bool) -> Decision:
    """Decide by an interval; a guard that is not known holds back a promotion, never a rejection."""
    bar = 1 + gate.min_improvement
    numbers = f"{interval.estimate:.3f} times stable (at least {interval.lower:.3f}, at most {interval.upper:.3f})"
    if interval.upper < bar:
        return Decision(Verdict.REJECT, "NotBetter", f"{numbers}, not {bar:.3f}", interval)
    proved = interval.lower > bar
    if (proved or (over and gate.on_inconclusive == "Promote")) and unknown is None:
        reason = "ProvedBetter" if proved else "Inconclusive"
        return Decision(Verdict.PROMOTE, reason, f"{numbers}, asked for {bar:.3f}", interval)
    if over:
        return Decision(Verdict.REJECT, "Inconclusive", f"{numbers}, undecided for too long", interval)
    if unknown is not None and proved:
        return Decision(Verdict.WAIT, "GuardUnknown", f"guard {unknown.name}: {unknown.message}", interval)
    return Decision(Verdict.WAIT, "Undecided", numbers, interval)
