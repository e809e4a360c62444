"""The gate: never on missing data, never because of many analyses, and always with a reason."""

import itertools
import math

import pytest
from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.gate import HARM, Evidence, GuardResult, Verdict, decide
from hypothesis import given
from hypothesis import strategies as st

GATE = Gate()


def evidence(candidate, stable=2.0, n=30, spread=0.05, requests=200, **more):
    """Blocks whose difference alternates around the log of candidate over stable."""
    center = math.log(candidate / stable)
    blocks = tuple(Block(center + spread * (-1) ** i, 1000.0) for i in range(n))
    return Evidence(Trial(blocks), candidate_requests=requests, stable_requests=requests, **more)


def test_a_clearly_better_candidate_is_promoted():
    decision = decide(GATE, evidence(2.4), (), 100)
    assert (decision.verdict, decision.reason) == (Verdict.PROMOTE, "ProvedBetter")
    assert decision.interval.lower > 1


def test_a_worse_candidate_is_rejected_long_before_its_time_is_over():
    assert decide(GATE, evidence(1.7), (), 100).reason == "NotBetter"


def test_an_equal_candidate_waits_and_is_never_promoted():
    assert decide(GATE, evidence(2.0), (), 100).verdict is Verdict.WAIT
    assert decide(GATE, evidence(2.0), (), GATE.max_duration_seconds).verdict is Verdict.REJECT


@given(st.floats(0.5, 5), st.floats(0.5, 5), st.integers(0, 100), st.integers(0, 400), st.floats(0, 1e7))
def test_never_without_data(candidate, stable, n, requests, elapsed):
    few = evidence(candidate, stable, n, requests=requests)
    decision = decide(GATE, few, (), elapsed)
    if requests < GATE.min_requests or not n:
        assert decision.verdict is not Verdict.PROMOTE
    blind = decide(
        GATE, Evidence(few.trial, candidate_requests=requests, stable_requests=requests, problem="down"), (), elapsed
    )
    assert blind.verdict is Verdict.WAIT
    assert "down" in blind.message


@given(st.floats(1.0001, 1e6), st.integers(1, 5))
def test_five_blocks_prove_nothing_however_large_the_effect_and_however_alike_they_are(effect, n):
    assert decide(GATE, evidence(2 * effect, n=n, spread=0.0), (), 100).verdict is Verdict.WAIT


@pytest.mark.parametrize(("effect", "n", "verdict"), [(2.0, 8, Verdict.PROMOTE), (0.5, 6, Verdict.REJECT)])
def test_a_few_blocks_that_agree_decide(effect, n, verdict):
    assert decide(GATE, evidence(2 * effect, n=n - 1), (), 100).verdict is Verdict.WAIT
    assert decide(GATE, evidence(2 * effect, n=n), (), 100).verdict is verdict


def test_a_draft_that_is_two_percent_worse_has_an_error_of_one_percent_in_the_wildest_traffic():
    """Given slices that differ by half, all tosses of the coin in eight blocks are gone through."""
    promoted = [
        any(decide(GATE, wild(coins[:n]), (), 100).verdict is Verdict.PROMOTE for n in (6, 7, 8))
        for coins in itertools.product((1, -1), repeat=8)
    ]
    assert 0 < sum(promoted) / len(promoted) <= HARM
    early = decide(GATE, wild((1,) * 6), (), 100)
    assert (early.verdict, early.reason) == (Verdict.WAIT, "WorseDoubted")
    assert "99% that it is not 2% worse than 1.000" in early.message
    assert early.interval.lower > 1
    assert early.progress < 1
    # A trial with less than that as its full error needs no second proof, and a lenient end asks for none.
    assert decide(GATE, wild((1,) * 16), (), 100, alpha=0.005).reason == "ProvedBetter"
    lenient = Gate(on_inconclusive="Promote")
    assert decide(lenient, wild((1,) * 6), (), lenient.max_duration_seconds).reason == "Inconclusive"


def test_a_draft_that_is_proved_to_be_hardly_better_makes_room_for_the_next():
    futile = decide(GATE, evidence(2.0, n=400, spread=0.01), (), 100)
    assert (futile.verdict, futile.reason) == (Verdict.REJECT, "NotWorthwhile")
    assert futile.message.endswith("less than 1.020")
    assert decide(Gate(min_worthwhile=0), evidence(2.0, n=400, spread=0.01), (), 100).verdict is Verdict.WAIT
    assert decide(GATE, evidence(2.02, n=400, spread=0.01), (), 100).verdict is Verdict.PROMOTE


def test_it_says_how_far_a_proof_has_come():
    assert decide(GATE, evidence(2.2, n=3), (), 100).progress == pytest.approx(0.5, abs=0.25)
    assert decide(Gate(min_worthwhile=0), evidence(2.0), (), 100).progress == 0


def test_what_did_not_count_is_reported():
    decision = decide(GATE, Evidence(Trial(void=3), candidate_requests=500, stable_requests=500), (), 100)
    assert decision.reason == "CollectingEvidence"
    assert "3 did not count" in decision.message


def same(difference, n):
    return Trial(tuple(Block(difference, 1000.0) for _ in range(n)))


def test_a_candidate_that_is_proved_slower_is_rejected_though_its_accept_length_is_better():
    slower = decide(GATE, evidence(2.4, speed=same(math.log(0.8), 15)), (), 100)
    assert (slower.verdict, slower.reason) == (Verdict.REJECT, "ProvedSlower")
    assert decide(GATE, evidence(2.4, speed=same(math.log(0.5), 5)), (), 100).reason == "SpeedDoubted"


def test_a_candidate_under_which_more_requests_fail_is_rejected():
    failing = decide(GATE, evidence(2.4, failures=same(0.2, 15)), (), 100)
    assert (failing.verdict, failing.reason) == (Verdict.REJECT, "ProvedFailing")
    assert decide(GATE, evidence(2.4, failures=same(0.01, 200)), (), 100).verdict is Verdict.PROMOTE


@given(st.floats(1.02, 1.2), st.lists(st.floats(-0.2, 0.2), min_size=30, max_size=80))
def test_a_longer_wait_for_the_first_token_rejects_where_it_is_proved_and_only_beyond_the_limit(ratio, noise):
    """``noise`` is of either sign with the same size, as a coin would deal it."""
    waits = [math.log(ratio) + sign * abs(one) for one in noise for sign in (1, -1)]
    within = Trial(tuple(Block(one, 100.0) for one in waits))
    assert decide(GATE, evidence(2.4, first_token=within), (), 100).verdict is Verdict.PROMOTE
    beyond = decide(GATE, evidence(2.4, first_token=same(math.log(1.6), 15)), (), 100)
    assert (beyond.verdict, beyond.reason) == (Verdict.REJECT, "ProvedLater")
    assert decide(GATE, evidence(2.4, first_token=same(math.log(1.6), 5)), (), 100).verdict is Verdict.PROMOTE


def test_a_breached_guard_rejects_and_an_unknown_one_keeps_a_promotion_back():
    better = evidence(2.4)
    assert decide(GATE, better, (GuardResult("errors", True, "0.2 is above 0.1"),), 1).reason == "GuardBreached"
    unknown = decide(GATE, better, (GuardResult("errors", None, "no number"),), 1)
    assert (unknown.verdict, unknown.reason) == (Verdict.WAIT, "GuardUnknown")


def wild(coins):
    """A draft that is 2 % worse, in blocks whose slices differ by half."""
    blocks = tuple(Block(math.log(0.98) + 0.5 * coin, 1000.0) for coin in coins)
    return Evidence(Trial(blocks), candidate_requests=200, stable_requests=200)


@pytest.mark.parametrize(("policy", "verdict"), [("KeepStable", Verdict.REJECT), ("Promote", Verdict.PROMOTE)])
def test_what_is_undecided_in_the_end_follows_the_policy(policy, verdict):
    gate = Gate(on_inconclusive=policy)
    assert decide(gate, evidence(2.0), (), gate.max_duration_seconds).verdict is verdict


def test_a_margin_is_asked_of_the_lower_end():
    assert decide(Gate(min_improvement=0.5), evidence(2.4), (), 1).verdict is Verdict.REJECT
    assert decide(Gate(min_improvement=0.05), evidence(2.4), (), 1).verdict is Verdict.PROMOTE


def test_a_candidate_with_too_little_traffic_has_no_verdict_when_its_time_is_over():
    for few in (evidence(2.4, requests=3), evidence(2.4, n=0)):
        assert decide(GATE, few, (), GATE.max_duration_seconds - 1).verdict is Verdict.WAIT
        over = decide(GATE, few, (), GATE.max_duration_seconds)
        assert (over.verdict, over.reason) == (Verdict.END, "NoEvidence")


def test_a_longer_accept_length_at_a_proved_lower_speed_is_no_gain():
    def blocks(effect):
        return Trial(tuple(Block(math.log(effect) + 0.01 * (-1) ** i, 1000.0) for i in range(60)))

    slower, alike = (evidence(2.4, speed=blocks(effect)) for effect in (0.96, 1.002))
    assert (decide(GATE, slower, (), 100).verdict, decide(GATE, slower, (), 100).reason) == (Verdict.REJECT, "NetLoss")
    assert decide(GATE, alike, (), 100).reason == "ProvedBetter"
    # A gate that takes drafts that are a little worse takes them a little slower.
    assert decide(Gate(min_improvement=-0.05), slower, (), 100).reason == "ProvedBetter"
    assert decide(GATE, evidence(2.0, speed=blocks(0.96)), (), 100).reason == "Undecided"


def test_harm_that_is_measured_and_not_proved_yet_keeps_a_promotion_back():
    slower = evidence(2.4, n=8, speed=same(math.log(0.97), 8))
    assert (decide(GATE, slower, (), 100).verdict, decide(GATE, slower, (), 100).reason) == (
        Verdict.WAIT,
        "SpeedDoubted",
    )
    failing = evidence(2.4, n=8, failures=same(0.03, 8))
    assert decide(GATE, failing, (), 100).reason == "FailuresDoubted"
    late = decide(Gate(on_inconclusive="Promote"), failing, (), 10**6)
    assert (late.verdict, late.reason) == (Verdict.REJECT, "Inconclusive")
    assert decide(GATE, evidence(2.4, n=8, failures=same(0.01, 8)), (), 100).verdict is Verdict.PROMOTE
    assert decide(GATE, evidence(1.5, n=8, speed=same(math.log(0.97), 8)), (), 100).reason == "NotBetter"
