"""The gate: never on missing data, never because of many analyses, and always with a reason."""

import pytest
from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.gate import Evidence, GuardResult, Verdict, decide
from aurora_operator.promotion.statistics import Sums
from hypothesis import given
from hypothesis import strategies as st

GATE = Gate()


def arm(ratio, n=200, spread=0.2):
    return Sums.of((20 * ratio * (1 + spread * (-1) ** i), 20) for i in range(n))


def evidence(candidate, stable=2.0, n=200, **more):
    return Evidence(arm(candidate, n), arm(stable, n), n, n, **more)


def test_a_clearly_better_candidate_is_promoted():
    decision = decide(GATE, evidence(2.4), (), 100)
    assert (decision.verdict, decision.reason) == (Verdict.PROMOTE, "ProvedBetter")
    assert decision.interval.lower > 1


def test_a_worse_candidate_is_rejected_long_before_its_time_is_over():
    assert decide(GATE, evidence(1.7), (), 100).reason == "NotBetter"


def test_an_equal_candidate_waits_and_is_never_promoted():
    assert decide(GATE, evidence(2.0), (), 100).verdict is Verdict.WAIT
    assert decide(GATE, evidence(2.0), (), GATE.max_duration_seconds).verdict is Verdict.REJECT


@given(st.floats(0.5, 5), st.floats(0.5, 5), st.integers(0, 400), st.integers(0, 400), st.floats(0, 1e7))
def test_never_without_data(candidate, stable, n, m, elapsed):
    few = Evidence(arm(candidate, n), arm(stable, m), n, m)
    decision = decide(GATE, few, (), elapsed)
    if min(n, m) < GATE.min_requests:
        assert decision.verdict is not Verdict.PROMOTE
    blind = decide(GATE, Evidence(few.candidate, few.stable, n, m, problem="down"), (), elapsed)
    assert blind.verdict is Verdict.WAIT
    assert "down" in blind.message


def test_few_slices_are_not_enough_however_many_requests():
    few = Evidence(arm(3.0, 3), arm(2.0, 3), 500, 500)
    assert decide(GATE, few, (), 100).reason == "CollectingEvidence"


def test_a_breached_guard_rejects_and_an_unknown_one_holds_back():
    better = evidence(2.4)
    assert decide(GATE, better, (GuardResult("errors", True, "0.2 is above 0.1"),), 1).reason == "GuardBreached"
    unknown = decide(GATE, better, (GuardResult("errors", None, "no number"),), 1)
    assert (unknown.verdict, unknown.reason) == (Verdict.WAIT, "GuardUnknown")


@pytest.mark.parametrize(("policy", "verdict"), [("KeepStable", Verdict.REJECT), ("Promote", Verdict.PROMOTE)])
def test_what_is_undecided_in_the_end_follows_the_policy(policy, verdict):
    gate = Gate(on_inconclusive=policy)
    assert decide(gate, evidence(2.0), (), gate.max_duration_seconds).verdict is verdict


def test_a_margin_is_asked_of_the_lower_end():
    assert decide(Gate(min_improvement=0.5), evidence(2.4), (), 1).verdict is Verdict.REJECT
    assert decide(Gate(min_improvement=0.05), evidence(2.4), (), 1).verdict is Verdict.PROMOTE
