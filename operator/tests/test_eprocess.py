"""The test by the coin, enumerated: every sequence of tosses of a trial on fixed traffic."""

import itertools
import math
import random

import pytest
from aurora_operator.promotion.eprocess import FAR_BETS, LOST, WIDEST, Block, interval, log_e_down, log_e_up
from hypothesis import given, settings
from hypothesis import strategies as st

ALPHA = 0.05
traffic = st.lists(st.tuples(st.floats(-30, 30) | st.floats(-0.2, 0.2), st.floats(1e-3, 1e6)), min_size=1, max_size=6)


def outcomes(found, effect=0.0):
    """All trials that the coin could have made of this traffic; the draft adds ``effect`` to each difference."""
    for coins in itertools.product((1, -1), repeat=len(found)):
        yield [Block(coin * d + effect, work) for coin, (d, work) in zip(coins, found, strict=True)]


def mean_e(found, log_e, margin, effect=0.0):
    return sum(math.exp(log_e(blocks, margin)) for blocks in outcomes(found, effect)) / 2 ** len(found)


@settings(max_examples=60, deadline=None)
@given(traffic)
def test_an_equal_draft_wins_nothing_on_average_whatever_the_traffic(found):
    assert mean_e(found, log_e_up, 0.0) == pytest.approx(1.0)
    assert mean_e(found, log_e_down, 0.0) == pytest.approx(1.0)
    assert mean_e(found, lambda blocks, margin: log_e_up(blocks, margin, FAR_BETS), 0.0) == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(traffic, st.floats(-1, 0.05))
def test_a_draft_that_is_not_better_by_the_margin_wins_nothing(found, effect):
    assert mean_e(found, log_e_up, 0.05, effect) <= 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(traffic)
def test_the_share_of_coins_that_ever_promote_is_at_most_alpha(found):
    ever = [
        any(log_e_up(blocks[: n + 1], 0.0) >= -math.log(ALPHA) for n in range(len(blocks)))
        for blocks in outcomes(found)
    ]
    assert sum(ever) / len(ever) <= ALPHA


@given(traffic, st.floats(-1, 1), st.floats(0, 1))
def test_e_values_are_monotone_in_the_margin(found, margin, step):
    blocks = [Block(*one) for one in found]
    assert log_e_up(blocks, margin + step) <= log_e_up(blocks, margin) + 1e-9
    assert log_e_down(blocks, margin + step) >= log_e_down(blocks, margin) - 1e-9


@pytest.mark.parametrize("difference", [0.2, 0.4, 20.0])
def test_a_large_effect_is_proved_in_six_blocks_and_not_in_four(difference):
    found = [Block(difference, 100.0)] * 6
    assert log_e_up(found, 0.0) >= -math.log(ALPHA)
    assert log_e_up(found[:4], 0.0) < -math.log(ALPHA)


@settings(max_examples=40, deadline=None)
@given(traffic)
def test_blocks_that_are_cut_where_the_candidate_does_badly_win_nothing_as_lost_ones(found):
    def cut(blocks):
        return [LOST if block.difference < 0 else block for block in blocks]

    for log_e in (log_e_up, log_e_down):
        values = [math.exp(log_e(cut(blocks), 0.0)) for blocks in outcomes(found)]
        assert sum(values) / len(values) <= 1 + 1e-9


def test_left_out_instead_they_would_promote_an_equal_draft():
    found = [(0.1, 100.0)] * 8
    kept = [[block for block in blocks if block.difference > 0] for blocks in outcomes(found)]
    assert sum(math.exp(log_e_up(blocks, 0.0)) for blocks in kept) / len(kept) > 2
    assert interval([LOST] * 9, ALPHA) is None


def test_one_block_proves_nothing_however_large():
    found = interval([Block(700.0, 1e9)], ALPHA)
    assert (found.lower, found.upper) == pytest.approx((math.exp(-WIDEST), math.exp(WIDEST)))


@pytest.mark.parametrize("bad", [Block(math.inf, 1), Block(math.nan, 1), Block(1, math.inf), Block(1, 0), Block(1, -1)])
def test_a_block_that_no_counter_can_make_is_left_out(bad):
    assert interval([bad] * 50, ALPHA) is None


def test_the_interval_contains_the_true_ratio_at_all_analyses():
    """Given 200 trials of a draft 5 % better on bursty traffic, then an end is ever wrong in at most 2 alpha."""
    rng = random.Random(5)
    truth, wrong = math.log(1.05), 0
    for _ in range(200):
        blocks = []
        for _ in range(60):
            burst = rng.random() < 0.05
            noise = rng.choice((1, -1)) * abs(rng.gauss(0.4 if burst else 0, 0.06))
            blocks.append(Block(truth + noise, 3000 if burst else 100))
        ends = [interval(blocks[:n], ALPHA) for n in range(5, 61, 5)]
        wrong += any(not one.lower <= math.exp(truth) <= one.upper for one in ends)
    assert wrong <= 200 * 2 * ALPHA
