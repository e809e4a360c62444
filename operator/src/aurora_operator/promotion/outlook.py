"""What traffic says of stable and of how long trials take, taken into where promotion stands."""

from dataclasses import replace
from datetime import datetime

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate
from aurora_operator.promotion import budget, forecast
from aurora_operator.promotion.assignment import share
from aurora_operator.promotion.challenge import baseline
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.progress import Progress
from aurora_operator.promotion.watch import Watch


def observed(spec: Spec, at: Progress, watch: Watch | None, now: datetime) -> Progress:
    """Without a candidate: what stable is held to, and how long the next trial would take."""
    at = replace(at, stable=baseline(spec, at.stable, watch))
    if watch is None or watch.pace is None:
        return at
    gate = spec.promotion.gate
    alpha, _ = budget.taken(gate, at.budget, now)
    _, pace = forecast.chosen(gate, watch.pace, watch.longer, alpha)
    found = forecast.forecast(gate, pace, alpha, share(spec))
    return replace(at, forecast=forecast.settled(at.forecast, found))


def sliced(spec: Spec, candidate: Candidate, watch: Watch | None, alpha: float) -> Candidate:
    """A candidate with the length of its trial's time slices."""
    gate, times = spec.promotion.gate, 1
    if watch is not None and watch.pace is not None and watch.pace.metric == candidate.metric:
        times, _ = forecast.chosen(gate, watch.pace, watch.longer, alpha)
    return candidate.model_copy(update={"slice_seconds": times * gate.slice_seconds})


def on_trial(spec: Spec, at: Progress, candidate: Candidate, evidence: Evidence, now: datetime) -> Progress:
    """What the trial can still prove, from its own blocks; one that cannot end says so."""
    gate, seconds = spec.promotion.gate, (now - candidate.since).total_seconds()
    requests = evidence.candidate_requests + evidence.stable_requests
    found = forecast.of_trial(candidate.metric, evidence.trial.blocks, seconds, requests)
    if found is None or candidate.kind != "NewVersion":
        return at
    alpha = candidate.alpha or 1 - gate.confidence
    at = replace(at, forecast=forecast.settled(at.forecast, forecast.forecast(gate, found, alpha, share(spec))))
    why = forecast.undecidable(gate, at.forecast)
    if why is None or at.reason not in {"CollectingEvidence", "Undecided"}:
        return at
    return replace(at, reason="NotDecidable", message=f"{at.message}; {why}")


def why_not_yet(spec: Spec, at: Progress, candidate: Candidate) -> str | None:
    """Why a new version's trial does not begin, if so."""
    if at.forecast is None or candidate.kind != "NewVersion" or candidate.metric != at.forecast.metric:
        return None
    return forecast.undecidable(spec.promotion.gate, at.forecast)
