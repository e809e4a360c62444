"""Strata from Prometheus' series to evidence: the operator's own path, with a Prometheus of plain data."""

import math
from datetime import UTC, datetime

import pytest
from aurora_operator.api.status import Candidate, Stable
from aurora_operator.promotion.assignment import candidate_slice, trial_key
from aurora_operator.promotion.counters import NAMES, OF_STRATUM, Series
from aurora_operator.reconcile.evidence import _evidence
from aurora_operator.render.identity import Resource
from operator_support import a_spec

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SLICES = 40
STRATA = {
    "by": "Header",
    "header": "x-team",
    "named": [{"name": "law", "values": ["law"]}, {"name": "idle", "values": ["idle"]}],
}


class Stored:
    """What a Prometheus has."""

    def __init__(self, series):
        self.series, self.asked = series, ""

    def pieces(self, selector, start, end):
        self.asked = selector
        yield [one for one in self.series if one.labels["__name__"] in selector]


def resource(**promotion):
    gate = {"sliceSeconds": 60}
    promotion = {"prometheus": {"url": "http://p"}, "strategy": "Switchback", "gate": gate, **promotion}
    return Resource("chat", "ns", "u-1", a_spec(promotion=promotion))


def stored(about, candidate, ratios):
    """Two strata with these effects, ``law`` and ``other``; each emits as many cycles in each slice."""
    trial, start = trial_key(about.uid, candidate), BEGAN.timestamp()
    series = []
    for version in (1, 2):
        sums = {name: [0.0, 0.0] for name in ("law", "other", "idle")}
        samples = {}
        for at in range(SLICES * 4 + 1):
            if at and candidate_slice(trial, (at - 1) // 4) == (version == 2):
                for name, ratio in ratios.items():
                    sums[name][0] += 200 * (ratio if version == 2 else 1.0)
                    sums[name][1] += 100
            now = start + 15 * at
            for name, (x, y) in sums.items():
                row = {"tokens": x, "cycles": y, "timed_tokens": x, "seconds": y}
                for part, metric in OF_STRATUM.items():
                    samples.setdefault((str(metric), name), []).append((now, row[part]))
            x, y = (sum(pair[i] for pair in sums.values()) for i in range(2))
            for name, value in zip(NAMES, (y, 0, 0, x, y, x, y, y, y), strict=True):
                samples.setdefault((name, None), []).append((now, float(value)))
        for (name, kind), values in samples.items():
            labels = {"__name__": name, "engine": "p", "version": str(version), "steps": "3"}
            series.append(Series(labels if kind is None else {**labels, "stratum": kind}, tuple(values)))
    return series


def evidence(ratios, kind="NewVersion", without="", **promotion):
    about = resource(**promotion)
    candidate = Candidate(version=2, steps=3, since=BEGAN, kind=kind)
    series = [one for one in stored(about, candidate, ratios) if one.labels["__name__"] != without or not without]
    prometheus = Stored(series)
    now = datetime.fromtimestamp(BEGAN.timestamp() + 60 * SLICES, UTC)
    stable = Stable(version=1, steps=3, since=BEGAN)
    return _evidence(prometheus, about, stable, candidate, now, {}, {"p"}), prometheus


def test_each_stratum_has_its_own_blocks_and_the_mean_weighs_them_alike():
    found, _ = evidence({"law": 0.8, "other": 1.3}, strata=STRATA)
    estimates = {one.name: one.trial.blocks[-1].difference for one in found.strata if one.trial.blocks}
    assert estimates == pytest.approx({"law": math.log(0.8), "other": math.log(1.3)})
    assert {one.name for one in found.strata if not one.worked} == {"idle"}
    assert found.trial.blocks[-1].difference == pytest.approx((math.log(0.8) + math.log(1.3)) / 2)
    assert len(found.trial.blocks) == SLICES // 2 - 1
    assert found.trial.candidate.ratio == pytest.approx(2 * 1.05)


def test_without_strata_their_counters_are_not_asked_for():
    found, prometheus = evidence({"law": 0.8, "other": 1.3})
    assert found.strata == ()
    assert "stratum" not in prometheus.asked
    assert found.trial.blocks[-1].difference == pytest.approx(math.log(1.05))


def test_stable_s_own_challengers_are_compared_as_before():
    found, _ = evidence({"law": 0.8, "other": 1.3}, kind="Previous", strata=STRATA)
    assert found.strata == ()


def test_counters_of_strata_that_are_missing_are_no_evidence_that_nobody_is_there():
    missing = str(OF_STRATUM["seconds"])
    found, _ = evidence({"law": 0.8, "other": 1.3}, without=missing, strata=STRATA)
    assert missing in found.problem
    assert "promotion.strata" in found.problem
