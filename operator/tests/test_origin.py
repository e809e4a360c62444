"""Counters prove something only where they can be counters, of the pods that are compared."""

import math
from datetime import UTC, datetime

import pytest
from aurora_operator.api.promotion import Gate, Guard
from aurora_operator.promotion.counters import LARGEST, NAMES, Arm, Counters, Series
from aurora_operator.promotion.gate import Evidence, Verdict, decide
from aurora_operator.promotion.statistics import Sums, compare
from aurora_operator.reconcile.evidence import _guards, _selector, _trusted
from aurora_operator.render.identity import Resource
from hypothesis import given
from hypothesis import strategies as st
from operator_support import a_spec

ARM = Arm(3, 3)
RESOURCE = Resource("chat", "ns", "u-1", a_spec())
LABELS = {"version": "3", "steps": "3", "engine": "chat-engine-a", "pod": "chat-engine-a", "namespace": "ns"}
NUMBERS = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, -1.0, 1e300, LARGEST * 2, 0.0])


def scrapes(values, **labels):
    """The six counters of an engine, all with the same values at the seconds 0, 1, 2 ..."""
    return [
        Series({"__name__": name, **LABELS, **labels}, tuple((float(t), v) for t, v in enumerate(values)))
        for name in NAMES["AcceptLength"]
    ]


def counters():
    return Counters("AcceptLength", ARM, -1.0, from_zero=True, trusted=_trusted(RESOURCE))


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, -1.0, 1e300])
def test_an_impossible_scrape_counts_nothing_and_is_noticed(bad):
    found = counters()
    found.add(scrapes([1.0, bad, 2.0]))
    assert found.refused == 1
    assert found.requests().n == 2.0


@given(st.lists(NUMBERS, max_size=8))
def test_no_values_raise_and_all_that_counts_is_finite(values):
    found = counters()
    found.add(scrapes(values))
    sums = found.requests()
    assert all(map(math.isfinite, (sums.n, sums.x, sums.y, sums.xx, sums.xy, sums.yy)))
    assert sums.log_variance() is None or math.isfinite(sums.log_variance())


@given(st.lists(NUMBERS, min_size=12, max_size=12))
def test_impossible_sums_never_promote(values):
    interval = compare(Sums(*values[:6]), Sums(*values[6:]), 0.95)
    if interval is not None:
        assert math.isfinite(interval.lower)
        assert interval.lower <= interval.upper


def test_a_single_infinite_slice_promotes_nothing():
    gate = Gate(min_requests=2, min_slices=3)
    endless = Sums.of([(math.inf, 5.0)] * 3)
    good = Sums.of([(10.0, 5.0), (11.0, 5.0), (12.0, 5.0)])
    verdict = decide(gate, Evidence(endless, good, 100, 100), (), 10.0).verdict
    assert verdict is Verdict.WAIT


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ({}, True),
        ({"engine": "other-engine-a", "pod": "other-engine-a"}, False),
        ({"pod": "attacker"}, False),
        ({"engine": "chat-engine-a", "pod": "chat-engine-b"}, False),
        ({"engine": ""}, False),
    ],
)
def test_only_the_resource_s_own_pods_count(labels, counts):
    found = counters()
    found.add(scrapes([0.0, 7.0], **labels))
    assert found.requests().n == (7.0 if counts else 0.0)


def test_a_duplicate_of_another_pod_does_not_speak_for_an_engine():
    found = counters()
    found.add(scrapes([0.0, 7.0]) + scrapes([0.0, 50.0, 100.0, 150.0], pod="attacker"))
    assert found.requests().n == 7.0


def test_series_are_asked_for_in_the_resource_s_own_namespace():
    assert 'namespace="ns"' in _selector(RESOURCE, "AcceptLength")


class Answers:
    """A Prometheus whose candidate, which drafts 0 steps, is three times as slow as stable, the same version."""

    def __init__(self):
        self.asked = []

    def number(self, query, _time):
        self.asked.append(query)
        return 3.0 if 'steps="0"' in query else 1.0


def test_a_guard_distinguishes_a_version_that_drafts_from_itself_target_only():
    """Given both sides of one version, when a ratio guard names $steps, then it compares the two and is breached."""
    guard = Guard(name="slow", query='t{version="$version",steps="$steps"}', max_ratio_to_stable=2)
    resource = Resource("chat", "ns", "u-1", a_spec(promotion={"strategy": "Manual", "guards": [guard.model_dump()]}))
    prometheus = Answers()
    (result,) = _guards(prometheus, resource, Arm(3, 0), ARM, datetime(2026, 1, 1, tzinfo=UTC))
    assert prometheus.asked == ['t{version="3",steps="0"}', 't{version="3",steps="3"}']
    assert result.breached
