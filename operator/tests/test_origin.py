"""Counters prove something only where they can be counters, of the pods that are compared."""

import math
from datetime import UTC, datetime

import pytest
from aurora_operator.api.promotion import Gate, Guard
from aurora_operator.promotion.blocks import MEASURES, Dealt, measured
from aurora_operator.promotion.counters import LARGEST, NAMES, Arm, Counters, Row, Series
from aurora_operator.promotion.eprocess import Block, interval
from aurora_operator.promotion.gate import Evidence, decide
from aurora_operator.reconcile.evidence import _guards
from aurora_operator.reconcile.ledger import _selector
from aurora_operator.reconcile.origin import Origin, believed
from aurora_operator.render.identity import Resource
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_support import a_spec

ARM = Arm(3, 3)
RESOURCE = Resource("chat", "ns", "u-1", a_spec())
LABELS = {"version": "3", "steps": "3", "engine": "chat-engine-a", "pod": "chat-engine-a", "namespace": "ns"}
ENGINES = frozenset({"chat-engine-a"})
"""The pods that the operator listed and made; chat-engine-b is another's."""
NUMBERS = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, -1.0, 1e300, LARGEST * 2, 0.0])


def scrapes(values, **labels):
    """The counters of an engine, all with the same values at the seconds 0, 1, 2 ..."""
    return [
        Series({"__name__": name, **LABELS, **labels}, tuple((float(t), v) for t, v in enumerate(values)))
        for name in NAMES
    ]


def counters():
    return Counters(ARM, -1.0, from_zero=True, length=60.0)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, -1.0, 1e300])
def test_an_impossible_scrape_counts_nothing_and_is_noticed(bad):
    found = counters()
    found.add(scrapes([1.0, bad, 2.0]))
    assert found.refused == 1
    assert found.requests() == 2.0


@given(st.lists(NUMBERS, max_size=8))
def test_no_values_raise_and_all_that_counts_is_finite(values):
    found = counters()
    found.add(scrapes(values))
    rows = [slices.total() for slices in found.engines.values()]
    assert all(math.isfinite(value) for row in rows for value in row)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30))
def test_impossible_blocks_never_decide(pairs):
    """Differences and work of whatever size: with five blocks that can be, nothing is proved."""
    good = [Block(1.0, 100.0)] * 5
    bad = [Block(d, w) for d, w in pairs if not (math.isfinite(d) and math.isfinite(w) and w > 0)]
    found = interval([*bad, *good, *bad], 0.05)
    assert found is not None
    assert found.lower <= 1


def test_the_largest_counters_that_can_be_overflow_nothing():
    pair = Row(tokens=LARGEST, cycles=1.0), Row(tokens=1.0, cycles=LARGEST)
    trial = measured(Dealt(([pair],) * 40, 0, tuple(range(1, 41))), MEASURES["AcceptLength"])
    found = decide(Gate(), Evidence(trial, candidate_requests=100, stable_requests=100), (), 10.0).interval
    assert found is not None
    assert all(map(math.isfinite, (found.estimate, found.lower, found.upper)))


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ({}, True),
        ({"engine": "other-engine-a", "pod": "other-engine-a"}, False),
        ({"pod": "attacker"}, False),
        ({"engine": "chat-engine-a", "pod": "chat-engine-b"}, False),
        ({"engine": "chat-engine-b", "pod": "chat-engine-b"}, False),
        ({"engine": ""}, False),
    ],
)
def test_only_the_resource_s_own_pods_count(labels, counts):
    found = counters()
    found.add(believed(scrapes([0.0, 7.0], **labels), ENGINES))
    assert found.requests() == (7.0 if counts else 0.0)


def test_a_duplicate_of_another_pod_does_not_speak_for_an_engine():
    found = counters()
    found.add(believed(scrapes([0.0, 7.0]) + scrapes([0.0, 50.0, 100.0, 150.0], pod="attacker"), ENGINES))
    assert found.requests() == 7.0


def test_series_are_asked_for_in_the_resource_s_own_namespace():
    assert 'namespace="ns"' in _selector(RESOURCE)


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
    (result,) = _guards(prometheus, resource, Arm(3, 0), ARM, datetime(2026, 1, 1, tzinfo=UTC), ())
    assert prometheus.asked == ['t{version="3",steps="0"}', 't{version="3",steps="3"}']
    assert result.breached


def test_a_guard_can_name_what_no_other_pod_can_forge():
    guard = Guard(name="slow", query='t{namespace="$namespace",pod=~"$engines"} or vector($version)', max=9)
    resource = Resource("chat", "ns", "u-1", a_spec(promotion={"strategy": "Manual", "guards": [guard.model_dump()]}))
    prometheus, now = Answers(), datetime(2026, 1, 1, tzinfo=UTC)
    for engines in ({"chat-engine-b", "chat-engine-a"}, ()):
        _guards(prometheus, resource, Arm(3, 0), None, now, engines)
    assert prometheus.asked == [
        't{namespace="ns",pod=~"chat-engine-a|chat-engine-b"} or vector(3)',
        't{namespace="ns",pod=~"-"} or vector(3)',
    ]


@pytest.mark.parametrize(("value", "reference"), [(None, 1.0), (3.0, None), (3.0, 0.0), (-5.0, -5.0), (3.0, -1.0)])
def test_a_guard_breaks_by_nothing_that_cannot_be_compared(value, reference):
    guard = Guard(name="slow", query="t$version", max_ratio_to_stable=1.2)
    resource = Resource("chat", "ns", "u-1", a_spec(promotion={"strategy": "Manual", "guards": [guard.model_dump()]}))
    prometheus = Answers()
    prometheus.number = lambda query, _time: value if query == "t7" else reference
    (result,) = _guards(prometheus, resource, Arm(7, 3), ARM, datetime(2026, 1, 1, tzinfo=UTC), ())
    assert result.breached is None


NO_COUNTERS, STRANGERS, RELABELLED, DROPPED = "no counters", "none of the resource's own", "relabelling", "drops it"


@pytest.mark.parametrize(
    ("series", "problem"),
    [
        (scrapes([0.0, 7.0]), ""),
        ([], NO_COUNTERS),
        (scrapes([7.0], engine="chat-engine-b"), STRANGERS),
        # A target label named version, by labelmap of the pods' labels.
        (scrapes([7.0], version="v1", exported_version="3"), RELABELLED),
        (scrapes([7.0], version="1", exported_version="3"), RELABELLED),
        (scrapes([7.0], steps=""), RELABELLED),
        (scrapes([7.0])[1:], "no aurora_requests_finished_total"),
        (scrapes([7.0])[2:], "and 1 more"),
        (scrapes([7.0])[:-2], ""),
        (scrapes([7.0], version="v1", exported_version="3") + scrapes([7.0]), ""),
    ],
)  # fmt: skip
def test_series_that_are_not_as_agents_export_them_are_no_data_and_not_a_lack_of_traffic(series, problem):
    origin = Origin()
    origin.add(series, believed(series, ENGINES))
    found = origin.problem(RESOURCE)
    assert problem in found
    assert bool(problem) == bool(found)
