"""The interval covers the truth at every analysis together, and the sums are those of the units."""

import math
import random

import pytest
from aurora_operator.promotion.statistics import Sums, compare, half_width
from hypothesis import given
from hypothesis import strategies as st

units = st.lists(st.tuples(st.integers(1, 200), st.integers(1, 100)), min_size=4, max_size=60)


@given(units, units)
def test_sums_add_up(one, other):
    assert Sums.of(one) + Sums.of(other) == Sums.of(one + other)


@given(units, st.integers(2, 9))
def test_scaling_a_metric_does_not_change_its_relative_variance(pairs, factor):
    plain, scaled = Sums.of(pairs), Sums.of((factor * x, y) for x, y in pairs)
    assert scaled.ratio == pytest.approx(factor * plain.ratio)
    assert scaled.log_variance() == pytest.approx(plain.log_variance(), rel=1e-6, abs=1e-9)


@given(units, units)
def test_swapping_sides_inverts_the_interval(one, other):
    forth, back = compare(Sums.of(one), Sums.of(other), 0.95), compare(Sums.of(other), Sums.of(one), 0.95)
    assert (forth is None) == (back is None)
    if forth is None or back is None:
        return
    assert forth.lower == pytest.approx(1 / back.upper, rel=1e-9)
    assert forth.lower <= forth.estimate <= forth.upper


@pytest.mark.parametrize("few", [[], [(3, 2)], [(3, 2), (4, 2)]])
def test_too_little_evidence_gives_no_interval(few):
    assert compare(Sums.of(few), Sums.of([(2, 1)] * 50), 0.95) is None


def test_the_delta_method_agrees_with_the_spread_of_repeated_draws():
    rng = random.Random(0)

    def draw():
        return Sums.of((cycles * rng.uniform(1.5, 2.5), cycles) for cycles in [rng.randint(5, 60) for _ in range(80)])

    logs = [math.log(draw().ratio) for _ in range(600)]
    mean = sum(logs) / len(logs)
    empirical = sum((x - mean) ** 2 for x in logs) / (len(logs) - 1)
    predicted = sum(draw().log_variance() for _ in range(100)) / 100
    assert predicted == pytest.approx(empirical, rel=0.2)


@given(st.floats(1e-7, 0.5), st.floats(0.001, 0.2))
def test_the_interval_is_wider_than_a_single_analysis_would_need(variance, alpha):
    # A normal quantile is below sqrt(2 log(2 / alpha)).
    assert half_width(variance, alpha) > math.sqrt(variance * math.log(1 / alpha**2)) * 0.999


def test_analysing_every_request_never_promotes_more_than_alpha_of_equal_drafts():
    """400 equal pairs, analysed 100 times each: the share that ever leaves 1 on the upper side is below 2.5 %."""
    rng = random.Random(1)
    wrong = 0
    for _ in range(400):
        one, other = Sums(), Sums()
        for _ in range(100):
            draws = [[(rng.gauss(2.0, 0.5) * v, v) for v in (20, 30, 40)] for _ in range(2)]
            one, other = one + Sums.of(draws[0]), other + Sums.of(draws[1])
            interval = compare(one, other, 0.95)
            if one.n >= 20 and interval.lower > 1:
                wrong += 1
                break
    assert wrong <= 400 * 0.025


@pytest.mark.parametrize("units", [4, 24, 10_000])
def test_units_that_are_all_alike_prove_nothing(units):
    """Given one prober that repeats itself, when both sides are compared, then there is no interval."""
    assert compare(Sums.of([(28.0, 27.0)] * units), Sums.of([(28.0, 28.0)] * units), 0.95) is None
