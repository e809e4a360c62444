"""The gate: evidence in, verdict and reason out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import FAR_BETS, Block, interval, log_e_down, log_e_up, mean
from aurora_operator.promotion.statistics import Interval
from aurora_operator.promotion.strata import Stratum, harmed, undecided

HARM = 0.01
"""Probability, for each kind of harm, that a trial ends for it though there is none, and that a promotion does it."""
WORSE = 0.02
"""How far below the bar a draft is that may be promoted with a probability of ``HARM`` at most."""


HARMFUL = {"GuardBreached", "ProvedSlower", "ProvedLater", "ProvedFailing", "StratumHarmed"}
"""Reasons to reject whose users are worse off: they end a trial about which only a person decides, too."""

_NO_BLOCK = "no block of two time slices in which both arms served"


class Verdict(StrEnum):
    """What to do with the candidate now."""

    WAIT = "Wait"
    PROMOTE = "Promote"
    REJECT = "Reject"
    END = "End"
    """Of the trial, without a verdict: nothing is known of the candidate."""


@dataclass(frozen=True)
class Evidence:
    """What was measured since the trial began, both arms live at the same time.

    Attributes:
        trial: its blocks, by the metric that decides.
        speed: by decode speed.
        failures: by the share of requests that ended without an answer.
        first_token: by the time to first token.
        candidate_requests, stable_requests: finished requests under each arm.
        problem: why there is no evidence, where there is none.
        strata: of users who may not be worse off behind the mean.
    """

    trial: Trial = field(default_factory=Trial)
    speed: Trial = field(default_factory=Trial)
    failures: Trial = field(default_factory=Trial)
    first_token: Trial = field(default_factory=Trial)
    candidate_requests: int = 0
    stable_requests: int = 0
    problem: str = ""
    strata: tuple[Stratum, ...] = ()


@dataclass(frozen=True)
class GuardResult:
    """A guard's answer.

    Attributes:
        breached: None where it is not known.
        reference: stable's value, of a guard that compares with it.
    """

    name: str
    breached: bool | None
    message: str
    reference: float | None = None


@dataclass(frozen=True)
class Decision:
    """The gate's answer.

    Attributes:
        progress: from 0 to 1, how far the blocks have come towards a proof of better or of worse.
    """

    verdict: Verdict
    reason: str
    message: str
    interval: Interval | None = None
    progress: float | None = None


def _missing(gate: Gate, evidence: Evidence) -> str | None:
    """What evidence still lacks before any verdict."""
    for arm, count in (("candidate", evidence.candidate_requests), ("stable", evidence.stable_requests)):
        if count < gate.min_requests:
            return f"{arm} has finished {count} of {gate.min_requests} requests"
    if not evidence.trial.counted:
        void = f"; {evidence.trial.void} did not count" if evidence.trial.void else ""
        return f"{_NO_BLOCK}{void}"
    return None


def _harm(gate: Gate, evidence: Evidence) -> tuple[str, str] | None:
    """Reason and message where it is proved that users of the candidate are worse off."""
    limit = -math.log(HARM)
    if log_e_down(evidence.speed.blocks, math.log1p(-gate.max_slowdown)) >= limit:
        return "ProvedSlower", f"decode speed is lower by more than {gate.max_slowdown:.0%} than stable's"
    if log_e_up(evidence.first_token.blocks, math.log1p(gate.max_first_token_increase)) >= limit:
        later = f"more than {gate.max_first_token_increase:.0%} longer than under stable"
        return "ProvedLater", f"users wait for the first token {later}"
    if log_e_up(evidence.failures.blocks, gate.max_failure_increase) >= limit:
        more = f"more than {gate.max_failure_increase:.1%} of requests"
        return "ProvedFailing", f"{more} end without an answer beyond those that do under stable"
    hurt = harmed(evidence.strata, HARM)
    return None if hurt is None else ("StratumHarmed", hurt)


def _doubt(gate: Gate, evidence: Evidence) -> tuple[str, str] | None:
    """Reason and message where harm is measured that is not proved yet: until it is or is not, nothing is promoted.

    Without it a race would decide: a gain that is proved sooner than the harm that comes with it.
    """
    speed, failures = mean(evidence.speed.blocks), mean(evidence.failures.blocks)
    if speed is not None and speed < min(0.0, math.log1p(gate.min_improvement)):
        return "SpeedDoubted", f"decode speed is measured at {math.exp(speed):.3f} times stable's, and not proved lower"
    if failures is not None and failures > gate.max_failure_increase:
        more = f"{failures:.1%} more of requests are measured to end without an answer"
        return "FailuresDoubted", f"{more}, and not proved to be more than {gate.max_failure_increase:.1%}"
    return None


def _excluded(blocks: Sequence[Block], bar: float, promotion: float) -> float:
    """How far the proof has come, 1 at its end, that the candidate is not worse than the bar by ``WORSE``.

    Where traffic differs much from slice to slice, an equal draft and one that is a little worse are alike, and the
    latter would be promoted nearly as often as the former. So this has an error of its own.
    """
    if promotion <= HARM:
        return 1.0
    return log_e_up(blocks, bar + math.log1p(-WORSE), FAR_BETS) / -math.log(HARM)


def decide(
    gate: Gate,
    evidence: Evidence,
    guards: Sequence[GuardResult],
    elapsed_seconds: float,
    alpha: float | None = None,
) -> Decision:
    """Decide about a candidate; never promotes on missing data, and a breached guard rejects at once.

    A gate that is blind (no Prometheus) waits past the trial's end: that says nothing of the candidate.

    Args:
        gate: its settings.
        evidence: what was measured.
        guards: their results.
        elapsed_seconds: since the trial began.
        alpha: highest probability of a false promotion; None for 1 - confidence.
    """
    for guard in guards:
        if guard.breached:
            return Decision(Verdict.REJECT, "GuardBreached", f"guard {guard.name}: {guard.message}")
    harm = None if evidence.problem else _harm(gate, evidence)
    if harm is not None:
        return Decision(Verdict.REJECT, *harm)
    rejection, blocks = 1 - gate.confidence, evidence.trial.blocks
    promotion = rejection if alpha is None else min(alpha, rejection)
    missing = evidence.problem or _missing(gate, evidence)
    found = None if missing else interval(blocks, promotion, rejection)
    over = elapsed_seconds >= gate.max_duration_seconds
    if found is None:
        message = missing or _NO_BLOCK
        if over and not evidence.problem:
            return Decision(Verdict.END, "NoEvidence", f"{message} after {elapsed_seconds:.0f} s")
        return Decision(Verdict.WAIT, "NoData" if evidence.problem else "CollectingEvidence", message)
    bar, worthwhile = math.log1p(gate.min_improvement), math.log1p(max(gate.min_improvement, gate.min_worthwhile))
    excluded = _excluded(blocks, bar, promotion)
    better = min(excluded, log_e_up(blocks, bar) / -math.log(promotion))
    best = max(better, log_e_down(blocks, worthwhile) / -math.log(rejection))
    progress = min(1.0, max(0.0, best))
    unknown = next((guard for guard in guards if guard.breached is None), None)
    held = _doubt(gate, evidence)
    if unknown is not None:
        held = "GuardUnknown", f"guard {unknown.name}: {unknown.message}"
    open_stratum = undecided(evidence.strata, promotion)
    if open_stratum is not None:
        held = "StratumUndecided", open_stratum
    slower = log_e_down(evidence.speed.blocks, min(0.0, bar)) >= -math.log(HARM)
    return _weigh(gate, found, progress, held, over=over, slower=slower, sure=excluded >= 1)


def _weigh(
    gate: Gate, found: Interval, progress: float, held: tuple[str, str] | None, *, over: bool, slower: bool, sure: bool
) -> Decision:
    """Decide by an interval; what is not known of a guard or a stratum keeps a promotion back, never a rejection.

    ``slower`` is whether decode speed is proved lower by anything: then a gain of another metric is none for users.
    ``sure`` is whether it is proved that the candidate is not far below the bar.
    """
    bar = 1 + gate.min_improvement
    numbers = f"{found.estimate:.3f} times stable ({found.ends})"

    def decision(verdict: Verdict, reason: str, message: str) -> Decision:
        return Decision(verdict, reason, message, found, progress)

    proved = found.lower > bar
    if found.upper < bar:
        return decision(Verdict.REJECT, "NotBetter", f"{numbers}, not {bar:.3f}")
    if not proved and found.upper < 1 + gate.min_worthwhile:
        return decision(Verdict.REJECT, "NotWorthwhile", f"{numbers}, less than {1 + gate.min_worthwhile:.3f}")
    if slower and (proved or over):
        return decision(Verdict.REJECT, "NetLoss", f"{numbers}, but decode speed is proved lower than stable's")
    if held is None and ((proved and sure) or (over and gate.on_inconclusive == "Promote")):
        reason = "ProvedBetter" if proved and sure else "Inconclusive"
        return decision(Verdict.PROMOTE, reason, f"{numbers}, asked for {bar:.3f}")
    if proved and not sure and held is None:
        least = f"{1 - HARM:.0%} that it is not {WORSE:.0%} worse than {bar:.3f}"
        held = "WorseDoubted", f"{numbers}, but a promotion also needs a proof of {least}"
    if over:
        rest = "" if held is None else f"; {held[1]}"
        return decision(Verdict.REJECT, "Inconclusive", f"{numbers}, no decision within maxDurationSeconds{rest}")
    return decision(Verdict.WAIT, *(held if proved and held is not None else ("Undecided", numbers)))
