"""The sums are those of the units."""

import math
import random

import pytest
from aurora_operator.promotion.statistics import Sums, ends, half_width
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


def test_sums_so_small_that_their_square_is_zero_have_no_variance():
    assert Sums(5, 1e-200, 1, 1, 1, 1).log_variance() is None


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [
        (1.2456, 1.7, "at least 1.246, at most 1.700"), (math.exp(-16), 0.573, "at most 0.573"),
        (1.01, math.exp(16), "at least 1.010"), (0.0, math.inf, "no bound yet"),
        (math.exp(-16), math.exp(16), "no bound yet"), (None, None, "no bound yet"),
    ],
)  # fmt: skip
def test_an_end_that_no_data_has_moved_is_no_number(lower, upper, text):
    assert ends(lower, upper) == text
