"""The bucket of probability: what trials take together is bounded, however often they begin."""

from datetime import timedelta

import pytest
from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Stable, Status
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.budget import SMALLEST, WEEK_SECONDS, taken
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.gate import Evidence, Verdict, decide
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.promotion.trial import REJECT, Seen, advance
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_spec

GATE = Gate()


@given(st.lists(st.floats(0, 86400), min_size=1, max_size=300))
def test_what_trials_take_together_is_at_most_what_was_there_and_what_came(waits):
    now, budget, total = NOW, None, 0.0
    for wait in waits:
        now += timedelta(seconds=wait)
        alpha, budget = taken(GATE, budget, now)
        total += alpha
        assert 0 < alpha <= (1 - GATE.confidence) / 2
    came = GATE.false_promotions_per_week / WEEK_SECONDS * sum(waits[1:])
    assert total <= 1 - GATE.confidence + came + SMALLEST * len(waits) * 2


@given(st.lists(st.floats(-86400, 86400), min_size=1, max_size=100))
def test_a_clock_that_is_set_back_fills_nothing_twice(moves):
    now = latest = NOW
    _, budget = taken(GATE, None, now)
    left = budget.left
    for move in moves:
        now += timedelta(seconds=move)
        came = GATE.false_promotions_per_week / WEEK_SECONDS * max(0.0, (now - latest).total_seconds())
        latest = max(latest, now)
        alpha, budget = taken(GATE, budget, now)
        assert alpha + budget.left == pytest.approx(max(2 * SMALLEST, min(1 - GATE.confidence, left + came)), rel=1e-6)
        left = budget.left


def test_after_a_quiet_time_it_is_full_again():
    _, budget = taken(GATE, None, NOW)
    alpha, _ = taken(GATE, budget, NOW + timedelta(days=7))
    assert alpha == pytest.approx((1 - GATE.confidence) / 2)


def test_each_trial_takes_its_part_and_the_status_keeps_what_is_left():
    pods = (Pod("a", "10.0.0.1", 2, 3, 1.0),)
    status, parts = Status(stable=Stable(version=2, steps=3, since=NOW), decided=2), []
    for version in (3, 4, 5):
        begun = advance(a_spec(), status, Seen(NOW, {}, [Published(version, 2.0)], pods))
        parts.append(begun.candidate.alpha)
        status = Status(stable=begun.stable, candidate=begun.candidate, decided=begun.decided, budget=begun.budget)
        ended = advance(a_spec(), status, Seen(NOW, {REJECT: str(version)}, (), pods))
        status = Status(stable=ended.stable, decided=ended.decided, budget=ended.budget)
    assert parts == pytest.approx([0.025, 0.0125, 0.00625])
    assert status.budget.left == pytest.approx(0.00625)


def test_a_smaller_part_asks_for_more_proof_of_a_promotion_and_not_of_a_rejection():
    def evidence(difference, n):
        return Evidence(Trial((Block(difference, 1000.0),) * n), candidate_requests=100, stable_requests=100)

    assert decide(GATE, evidence(0.5, 8), (), 1, 0.05).verdict is Verdict.PROMOTE
    assert decide(GATE, evidence(0.5, 8), (), 1, 1e-4).verdict is Verdict.WAIT
    assert decide(GATE, evidence(0.5, 16), (), 1, 1e-4).verdict is Verdict.PROMOTE
    assert decide(GATE, evidence(-0.5, 6), (), 1, 1e-4).verdict is Verdict.REJECT


def test_the_tenth_of_trials_in_a_row_needs_about_twice_the_blocks_of_the_first():
    def verdict(n, alpha):
        found = Evidence(Trial((Block(0.5, 1000.0),) * n), candidate_requests=100, stable_requests=100)
        return decide(GATE, found, (), 1, alpha).verdict

    parts, budget = [], None
    for _ in range(10):
        alpha, budget = taken(GATE, budget, NOW)
        parts.append(alpha)
    for n, alpha in ((8, parts[0]), (17, parts[9])):
        assert (verdict(n - 1, alpha), verdict(n, alpha)) == (Verdict.WAIT, Verdict.PROMOTE)
