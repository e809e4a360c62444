"""Intervals cover what they say, and positions and domains count what cycles did."""

import numpy as np
import pytest
from aurora_core.errors import ConfigError, TrainingError
from aurora_core.evaluation import intervals, measured
from aurora_core.evaluation.accept import Accepted, Cycle
from aurora_core.training.recorded import RecordedSource
from hypothesis import given, settings
from hypothesis import strategies as st

CYCLES = st.lists(
    st.builds(lambda a, more: Cycle(a, min(3, a + more)), st.integers(0, 3), st.integers(0, 1)), max_size=9
)


def test_the_interval_covers_the_true_ratio_as_often_as_it_says():
    """Requests of very different lengths, with a rate of their own each."""
    random, covered, rounds = np.random.default_rng(1), 0, 80
    for seed in range(rounds):
        cycles = random.integers(1, 60, 60).astype(float)
        tokens = cycles * random.gamma(8, 2 / 8, 60)
        found = intervals.ratio(list(tokens), list(cycles), seed=seed)
        covered += found.low <= 2 <= found.high
    assert 0.88 <= covered / rounds <= 0.99


def test_pairing_makes_the_difference_sharper_than_the_parts():
    random = np.random.default_rng(2)
    cycles = random.integers(20, 60, 80).astype(float)
    tokens = cycles * random.gamma(4, 0.5, 80)
    one, other = (list(tokens), list(cycles)), (list(tokens + 0.05 * cycles), list(cycles))
    found, alone = intervals.difference(one, other), intervals.ratio(*one)
    assert found.value == pytest.approx(0.05)
    assert found.low > 0
    assert found.high - found.low < (alone.high - alone.low) / 10
    back = intervals.difference(other, one)
    assert (back.value, back.low) == (pytest.approx(-0.05), pytest.approx(-found.high, abs=1e-3))


def test_one_request_has_no_interval():
    assert intervals.ratio([6.0], [3.0]) == intervals.Estimate(2.0, None, None)
    assert intervals.ratio([0.0, 0.0], [0.0, 0.0]).value == 1.0


@settings(max_examples=20, deadline=None)
@given(st.lists(CYCLES, min_size=1, max_size=8))
def test_parts_add_up_and_explain_the_length(requests):
    accepted = Accepted(tuple(map(tuple, requests)))
    found = measured.parts(accepted, [str(at % 3) for at in range(len(requests))], 3)
    total, rest = found[0], found[1:]
    if rest:
        for name in ("requests", "cycles", "tokens"):
            assert getattr(total, name) == sum(getattr(part, name) for part in rest)
    assert total.accept_length.value == pytest.approx(accepted.length)
    assert all(share is None or 0 <= share <= 1 for share in total.positions)


def test_a_request_that_ended_rejected_nothing():
    accepted = Accepted(((Cycle(3, 3), Cycle(1, 2), Cycle(1, 1)),))
    (part,) = measured.parts(accepted, ["d"], 3)
    assert part.positions == (1.0, 0.5, 1.0)


def source(count=20, **changes):
    samples = {f"s{i}": (lambda i=i: str(i).encode()) for i in range(count)}
    base = {"fraction": 0.3, "salt": b"", "most_heldout": 9, "at_first": 3, "at_a_time": 2, "seed": 1}
    return RecordedSource(samples, **{**base, **changes})


def test_each_epoch_has_each_sample_once_in_an_order_of_its_own():
    found = source()
    n = len(found.training)
    names = []
    for _ in range(n + 2):
        names += [one.name for one in found.poll()]
    held, rest = names[: len(found.heldout)], names[len(found.heldout) :]
    assert held == found.heldout
    assert not set(held) & set(rest)
    assert sorted(rest[:n]) == sorted(rest[n : 2 * n]) == sorted(found.training)
    assert rest[:n] != rest[n : 2 * n]
    assert found.steps(3) == -(-3 * n // 2)


def test_a_resumed_source_continues_where_it_was():
    straight, resumed = source(at_first=1), source(at_first=1, steps_done=5)
    names = [one.name for _ in range(8) for one in straight.poll()][len(straight.heldout) :]
    assert [one.name for _ in range(3) for one in resumed.poll()][len(resumed.heldout) :] == names[10:]


def test_a_set_that_is_refused_entirely_ends_training():
    found = source()

    def refuse():
        while True:
            for one in found.poll():
                one.done()

    with pytest.raises(TrainingError, match="none of"):
        refuse()


def test_a_set_too_small_to_hold_out_is_an_error():
    with pytest.raises(ConfigError, match="are held out"):
        source(1)
