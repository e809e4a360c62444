"""What the operator tells of itself and of each resource."""

import math

from prometheus_client import Counter, Gauge, Histogram

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status

writes = Counter("aurora_operator_writes", "Writes to the API server", ["kind"])
requests = Counter("aurora_operator_requests", "Requests to the API server", ["verb", "kind"])
watch_failures = Counter("aurora_operator_watch_failures", "Watches that broke and are tried again", ["kind"])
reaction_seconds = Histogram(
    "aurora_operator_reaction_seconds",
    "From an event to the end of the reconcile that takes it in",
    buckets=(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)
loads = Counter("aurora_operator_loads", "Versions made live through an agent", ["speculator"])
failures = Counter("aurora_operator_failures", "What failed and is tried again", ["speculator", "what"])
verdicts = Counter("aurora_operator_verdicts", "Events of promotion", ["speculator", "reason"])
reconcile_seconds = Histogram("aurora_operator_reconcile_seconds", "Duration of a look and what follows")

_SPECULATOR = ["speculator"]
_estimate = Gauge("aurora_gate_estimate", "Candidate over stable, and its interval", ["speculator", "bound"])
_condition = Gauge("aurora_condition", "1 where the condition is True, 0 False, -1 Unknown", ["speculator", "type"])
_GAUGES = {
    "stable_version": Gauge("aurora_stable_version", "Version that is stable", _SPECULATOR),
    "stable_steps": Gauge("aurora_stable_steps", "Draft steps of stable, 0 without speculation", _SPECULATOR),
    "stable_since": Gauge("aurora_stable_since_seconds", "When stable became stable, since the epoch", _SPECULATOR),
    "candidate_version": Gauge("aurora_candidate_version", "Version on trial, -1 without one", _SPECULATOR),
    "candidate_seconds": Gauge("aurora_candidate_since_seconds", "When the trial began, NaN without one", _SPECULATOR),
    "blind": Gauge("aurora_gate_blind", "1 while a candidate is on trial and nothing can be measured", _SPECULATOR),
    "suspended": Gauge("aurora_suspended", "1 where spec.suspend is true", _SPECULATOR),
}


def show(name: str, spec: Spec, status: Status) -> None:
    """Set a resource's gauges."""
    stable, candidate = status.stable, status.candidate
    reasons = {one.type: one.reason for one in status.conditions}
    values = {
        "stable_version": -1 if stable is None else stable.version,
        "stable_steps": 0 if stable is None else stable.steps,
        "stable_since": math.nan if stable is None else stable.since.timestamp(),
        "candidate_version": -1 if candidate is None else candidate.version,
        "candidate_seconds": math.nan if candidate is None else candidate.since.timestamp(),
        "blind": float(candidate is not None and reasons.get("PromotionProgressing") == "NoData"),
        "suspended": float(spec.suspend),
    }
    for gauge, value in values.items():
        _GAUGES[gauge].labels(name).set(value)
    bounds = (None, None, None) if candidate is None else (candidate.lower, candidate.estimate, candidate.upper)
    for word, bound in zip(("lower", "estimate", "upper"), bounds, strict=True):
        _estimate.labels(name, word).set(math.nan if bound is None else bound)
    for one in status.conditions:
        _condition.labels(name, one.type).set({"True": 1, "False": 0}.get(one.status, -1))


_OF_A_RESOURCE = (*_GAUGES.values(), _estimate, _condition, loads, failures, verdicts)
"""Everything with the label ``speculator``."""


def forget(name: str) -> None:
    """Drop all series of a resource that is gone, counters too: their number must not grow with every one ever made."""
    for one in _OF_A_RESOURCE:
        one.remove_by_labels({"speculator": name})
