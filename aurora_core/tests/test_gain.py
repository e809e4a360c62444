"""A gain on held-out requests: never published from noise, over all evaluations together; a real one soon."""

import math
import random

import pytest
from aurora_core.evaluation.accept import Accepted, Cycle
from aurora_core.evaluation.gain import FEWEST, paired, spent, tail


def request(tokens, cycles):
    """Cycles of a request: of ``tokens`` in all."""
    return tuple(Cycle(tokens // cycles - 1 + (i < tokens % cycles), 3) for i in range(cycles))


def accepted(pairs):
    return Accepted(tuple(request(tokens, cycles) for tokens, cycles in pairs))


def requests(rng, count):
    """Tokens and cycles of each, under a draft that needs about half as many cycles."""
    return [
        (tokens, round(tokens / rng.uniform(1.6, 2.6))) for tokens in (rng.randrange(20, 200) for _ in range(count))
    ]


def retrained(rng, found, gain):
    """Another draft on the same requests: each needs more or fewer cycles by 5 %, and fewer by the gain."""
    return [(t, max(1, min(t, round(v * math.exp(rng.gauss(0, 0.05)) / gain)))) for t, v in found]


@pytest.mark.parametrize(("t", "freedom", "p"), [(1.0, 1, 0.25), (4.302653, 2, 0.025), (2.570582, 5, 0.025),
                                                 (2.684556, 47, 0.005), (-1.0, 1, 0.75), (0.0, 9, 0.5)])  # fmt: skip
def test_a_tail_is_as_in_tables(t, freedom, p):
    assert tail(t, freedom) == pytest.approx(p, rel=1e-5)


def test_it_is_the_difference_of_two_accept_lengths_with_an_error_that_shrinks():
    rng = random.Random(1)
    found = requests(rng, 400)
    better = retrained(rng, found, 1.1)
    few, many = (paired(accepted(found[:n]), accepted(better[:n])) for n in (25, 400))
    assert many.now / many.before == pytest.approx(1.1, abs=0.02)
    assert many.error == pytest.approx(few.error / 4, rel=0.5)
    assert many.log_error == pytest.approx(0.05 / math.sqrt(400), rel=0.5)
    assert many.proved(0.0, 1e-4)
    assert not many.proved(0.5, 0.5)


def test_requests_without_a_cycle_and_too_few_of_them_say_nothing():
    empty = Accepted(((), *accepted([(40, 20)] * (FEWEST - 1)).requests))
    other = Accepted(((), *accepted([(40, 10)] * (FEWEST - 1)).requests))
    assert not paired(empty, other).proved(0.0, 0.5)


def test_requests_that_agree_by_chance_are_no_proof():
    one, two = (paired(accepted([(40, 20)] * 3), accepted([(40, 20 - fewer)] * 3)) for fewer in (1, 3))
    assert not one.proved(0.0, spent(0.05, 1))
    assert two.proved(0.0, spent(0.05, 1))


def test_on_a_plateau_noise_is_published_in_at_most_one_of_twenty_trainings():
    """60 trainings, 25 evaluations each, with weights of the same quality, on a holdout that moves by requests."""
    rng, wrong = random.Random(7), 0
    for _ in range(60):
        held = requests(rng, 24)
        for number in range(1, 26):
            held = [*held[4:], *requests(rng, 4)]
            if paired(accepted(held), accepted(retrained(rng, held, 1.0))).proved(0.0, spent(0.05, number)):
                wrong += 1
                break
    assert wrong <= 6


def test_a_gain_of_five_percent_is_published_within_two_evaluations():
    rng, late = random.Random(8), 0
    for _ in range(40):
        held = requests(rng, 48)
        late += not any(
            paired(accepted(held), accepted(retrained(rng, held, 1.05))).proved(0.0, spent(0.05, number))
            for number in (1, 2)
        )
    assert late <= 2
