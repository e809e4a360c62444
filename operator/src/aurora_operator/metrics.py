"""The operator's metrics, of itself and of each resource."""

import math
from typing import TypeVar

from aurora_core.protocol import metrics
from aurora_core.protocol.metrics import SPECULATOR, Metric
from prometheus_client import Counter, Gauge, Histogram

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Status, StratumEstimate
from aurora_operator.promotion.outcome import EVENTS
from aurora_operator.promotion.statistics import moved

_M = TypeVar("_M", Counter, Gauge, Histogram)


def _made(kind: type[_M], metric: Metric) -> _M:
    return kind(metric.name, metric.text, metric.labels)


writes = _made(Counter, metrics.OPERATOR_WRITES)
requests = _made(Counter, metrics.OPERATOR_REQUESTS)
watch_failures = _made(Counter, metrics.OPERATOR_WATCH_FAILURES)
reaction_seconds = Histogram(
    metrics.OPERATOR_REACTION_SECONDS.name,
    metrics.OPERATOR_REACTION_SECONDS.text,
    buckets=(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)
contested = _made(Gauge, metrics.OPERATOR_CONTESTED)
contested_objects = _made(Gauge, metrics.OPERATOR_CONTESTED_OBJECTS)
loads = _made(Counter, metrics.OPERATOR_LOADS)
failures = _made(Counter, metrics.OPERATOR_FAILURES)
verdicts = _made(Counter, metrics.OPERATOR_VERDICTS)
reconcile_seconds = _made(Histogram, metrics.OPERATOR_RECONCILE_SECONDS)

_estimate = _made(Gauge, metrics.GATE_ESTIMATE)
_stratum_estimate = _made(Gauge, metrics.GATE_STRATUM_ESTIMATE)
_condition = _made(Gauge, metrics.CONDITION)
_GAUGES = {
    one: _made(Gauge, one)
    for one in (
        metrics.STABLE_VERSION,
        metrics.STABLE_STEPS,
        metrics.STABLE_SINCE_SECONDS,
        metrics.CANDIDATE_VERSION,
        metrics.CANDIDATE_SINCE_SECONDS,
        metrics.GATE_BAR,
        metrics.GATE_RATIO_OF_SUMS,
        metrics.GATE_SPEED_RATIO,
        metrics.GATE_BLIND,
        metrics.REPLICAS_DESIRED,
        metrics.REPLICAS_READY,
        metrics.SPECULATION_SWITCHED_OFF,
        metrics.SUSPENDED,
        metrics.TRAINING_QUEUED,
        metrics.RANKS_DESIRED,
        metrics.RANKS_READY,
    )
}


def _margin(spec: Spec, candidate: Candidate) -> float:
    """How much better a candidate must be; a challenger of stable just has to be better."""
    return spec.promotion.gate.min_improvement if candidate.kind == "NewVersion" else 0.0


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _bounds(of: Candidate | StratumEstimate | None) -> tuple[tuple[str, float | None], ...]:
    """An estimate and the ends of its interval; an end that no data has moved yet is no number."""
    if of is None:
        return (("lower", None), ("estimate", None), ("upper", None))
    lower, upper = moved(of.lower, of.upper)
    return (("lower", lower), ("estimate", of.estimate), ("upper", upper))


def show(name: str, spec: Spec, status: Status) -> None:
    """Set a resource's gauges."""
    stable, candidate = status.stable, status.candidate
    reasons = {one.type: one.reason for one in status.conditions}
    values = {
        metrics.STABLE_VERSION: -1 if stable is None else stable.version,
        metrics.STABLE_STEPS: 0 if stable is None else stable.steps,
        metrics.STABLE_SINCE_SECONDS: math.nan if stable is None else stable.since.timestamp(),
        metrics.CANDIDATE_VERSION: -1 if candidate is None else candidate.version,
        metrics.CANDIDATE_SINCE_SECONDS: math.nan if candidate is None else candidate.since.timestamp(),
        metrics.GATE_BAR: math.nan if candidate is None else 1 + _margin(spec, candidate),
        metrics.GATE_RATIO_OF_SUMS: _known(None if candidate is None else candidate.ratio_of_sums),
        metrics.GATE_SPEED_RATIO: _known(None if candidate is None else candidate.speed_ratio),
        metrics.GATE_BLIND: float(candidate is not None and reasons.get("PromotionProgressing") == "NoData"),
        metrics.REPLICAS_DESIRED: status.serving.replicas,
        metrics.REPLICAS_READY: status.serving.ready,
        metrics.SPECULATION_SWITCHED_OFF: float(reasons.get("Speculating") in {"SwitchedOff", "SwitchingOff"}),
        metrics.SUSPENDED: float(spec.suspend),
        metrics.TRAINING_QUEUED: float(reasons.get("TrainingHealthy") == "Queued"),
        metrics.RANKS_DESIRED: spec.training.ranks,
        metrics.RANKS_READY: status.training.ready,
    }
    for gauge, value in values.items():
        _GAUGES[gauge].labels(name).set(value)
    for word, bound in _bounds(candidate):
        _estimate.labels(name, word).set(_known(bound))
    strata = [] if candidate is None else candidate.strata
    if not strata:
        _stratum_estimate.remove_by_labels({SPECULATOR: name})
    for stratum in strata:
        for word, bound in _bounds(stratum):
            _stratum_estimate.labels(name, stratum.name, word).set(_known(bound))
    for word in EVENTS:
        # From 0 on: PromQL's increase does not see a series that begins at 1.
        verdicts.labels(name, word)
    for one in status.conditions:
        _condition.labels(name, one.type).set({"True": 1, "False": 0}.get(one.status, -1))


_OF_A_RESOURCE = (
    contested,
    contested_objects,
    *_GAUGES.values(),
    _estimate,
    _stratum_estimate,
    _condition,
    loads,
    failures,
    verdicts,
)
"""Everything with the label ``speculator``."""


def forget(name: str) -> None:
    """Drop all series of a resource that is gone, counters too: their number must not grow with every one ever made."""
    for one in _OF_A_RESOURCE:
        one.remove_by_labels({SPECULATOR: name})
