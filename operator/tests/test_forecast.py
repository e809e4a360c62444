"""A forecast agrees with what the gate then takes, and is honest about what it cannot decide."""

import math
import random

import pytest
from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.eprocess import Block, log_e_up
from aurora_operator.promotion.forecast import (
    ALIKE,
    EFFECTS,
    FEWEST_BLOCKS,
    Pace,
    blocks_needed,
    chosen,
    forecast,
    livelier,
    pace,
    settled,
    undecidable,
)
from hypothesis import given
from hypothesis import strategies as st

GATE = Gate()
spreads, alphas = st.floats(0.01, 1.0), st.floats(1e-6, 0.05)


def taken(effect, spread, alpha, rng):
    blocks = []
    while not blocks or log_e_up(blocks, 0.0) < -math.log(alpha):
        blocks.append(Block(effect + rng.gauss(0, spread), 1000.0))
    return len(blocks)


@pytest.mark.parametrize(("effect", "spread", "alpha"), [(0.05, 0.06, 0.025), (0.2, 0.1, 0.001), (0.3, 0.05, 0.025)])
def test_about_half_of_trials_are_over_when_the_forecast_says(effect, spread, alpha):
    rng = random.Random(0)
    found = sorted(taken(effect, spread, alpha, rng) for _ in range(60))
    predicted = blocks_needed(effect, spread, alpha)
    assert predicted == pytest.approx(max(FEWEST_BLOCKS, found[30]), rel=0.3)


@given(st.floats(0.01, 0.5), st.floats(1.05, 4.0), spreads, st.floats(1.05, 4.0), alphas, st.floats(2, 100))
def test_less_to_see_more_noise_or_a_smaller_alpha_never_takes_fewer_blocks(gap, more, spread, wider, alpha, less):
    plain = blocks_needed(gap, spread, alpha)
    assert plain >= FEWEST_BLOCKS
    # Bets and scale are remembered in two or three digits.
    assert blocks_needed(gap * more, spread, alpha) <= plain * 1.05 + 1
    assert blocks_needed(gap, spread, alpha / less) >= plain
    if spread > 0.1:
        assert blocks_needed(gap, spread * wider, alpha) >= plain * 0.95 - 1


@given(spreads, st.floats(60, 7200), st.floats(0.01, 100), alphas, st.floats(0.05, 0.5))
def test_what_is_decidable_is_within_the_longest_duration(spread, seconds, rate, alpha, share):
    found = forecast(GATE, Pace("AcceptLength", spread, seconds, rate), alpha, share)
    if found.smallest is None:
        assert "requests a minute" in undecidable(GATE, found)
        return
    assert undecidable(GATE, found) is None
    assert blocks_needed(math.log1p(found.smallest), spread, alpha) * seconds <= GATE.max_duration_seconds
    assert 60 * GATE.min_requests / (rate * share) <= GATE.max_duration_seconds
    assert found.smallest in EFFECTS


def test_too_few_requests_are_not_decidable_however_alike_blocks_are():
    found = forecast(GATE, Pace("AcceptLength", 0.01, 120.0, 0.02), 0.025, 0.5)
    assert found.smallest is None
    assert forecast(GATE, Pace("AcceptLength", 0.01, 120.0, 0.05), 0.025, 0.5).smallest == 0.01
    assert forecast(GATE, Pace("AcceptLength", 0.01, 120.0, 0.0), 0.025, 0.5).smallest is None


@given(spreads, st.floats(60, 7200), st.floats(0.1, 100), st.floats(1 / ALIKE + 0.01, ALIKE - 0.01))
def test_a_status_changes_only_where_the_forecast_does(spread, seconds, rate, factor):
    before = forecast(GATE, Pace("AcceptLength", spread, seconds, rate), 0.025, 0.5)
    now = forecast(GATE, Pace("AcceptLength", spread, seconds, rate * factor), 0.025, 0.5)
    assert settled(before, now) is (before if before.smallest == now.smallest else now)
    assert settled(before, None) is before
    assert settled(None, now) is now
    assert settled(before, now.model_copy(update={"requests_per_minute": 2 * before.requests_per_minute + 1})) != before


def test_a_pace_needs_blocks_or_half_an_hour():
    assert pace("AcceptLength", [0.1] * 5, 600.0, 50) is None
    assert pace("AcceptLength", [0.1, -0.1, math.nan] * 3, 720.0, 24) == Pace("AcceptLength", pytest.approx(0.1095, rel=1e-3), 120.0, 2.0)  # fmt: skip  # noqa: E501
    assert pace("AcceptLength", [], 1800.0, 0).requests_per_minute == 0.0
    slow, quick = Pace("AcceptLength", 0.1, 600.0, 1.0), Pace("AcceptLength", 0.5, 120.0, 9.0)
    assert livelier(slow, quick) == Pace("AcceptLength", 0.1, 120.0, 9.0)
    assert livelier(slow, None) is livelier(None, slow) is slow


def test_longer_slices_are_taken_where_the_shortest_prove_nothing_in_time_and_only_then():
    def paces(spreads):
        return {times: Pace("AcceptLength", spread, 120.0 * times, 1.0) for times, spread in spreads.items()}

    half = paces({1: 0.2, 2: 0.2 / 2**0.5, 4: 0.1})
    assert chosen(GATE, half[1], half, 0.025)[0] == 1
    empty = paces({1: 0.5, 2: 0.12, 4: 0.06, 16: 0.03})
    times, found = chosen(GATE, empty[1], empty, 0.025)
    assert (times, found.spread) == (4, 0.06)
    assert chosen(Gate(max_slice_seconds=120), empty[1], empty, 0.025)[0] == 2
    assert chosen(Gate(max_slice_seconds=10), empty[1], empty, 0.025)[0] == 1
    # Where the shortest suffice, a large improvement shall not wait for longer ones.
    assert chosen(Gate(max_duration_seconds=1_000_000), empty[1], empty, 0.025)[0] == 1
