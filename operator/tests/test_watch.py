"""The watch on stable: its false alarms are rare by the coin's own arithmetic, and a fall is seen at any traffic."""

import itertools
import math
import random

import pytest
from aurora_operator.promotion.counters import NAMES, Arm, Counters, Series
from aurora_operator.promotion.steady import watched
from aurora_operator.promotion.watch import FEWEST, RUN, Watch, Window, detected, fell
from hypothesis import given
from hypothesis import strategies as st

LIMIT = math.log(2.0) + math.log(0.95)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=8), st.floats(0, 0.2))
def test_where_windows_are_as_likely_too_low_as_too_high_the_detector_grows_by_no_more_than_their_number(sizes, above):
    """Over all signs of any sizes, around a level at the limit or above it."""
    values = [
        detected([LIMIT + above + sign * size for sign, size in zip(signs, sizes, strict=True)], LIMIT)
        for signs in itertools.product((-1, 1), repeat=len(sizes))
    ]
    assert sum(values) / len(values) <= len(sizes) * (1 + 1e-9)


def windows(*lengths):
    return [Window(60.0 * i, math.log(one)) for i, one in enumerate(lengths)]


def wave(length, n):
    return [length * (1 + 0.1 * (-1) ** i) for i in range(n)]


def test_a_fall_is_seen_in_a_quarter_of_an_hour_of_busy_windows_and_one_within_the_limit_never():
    assert not fell(windows(*wave(2.0, 360)), 2.0, 1e-4)
    assert not fell(windows(*wave(1.96, 2000)), 2.0, 1e-4)
    found = [n for n in range(60) if fell(windows(*wave(2.0, 300), *wave(1.2, n)), 2.0, 1e-4)]
    assert 10 < found[0] <= 25
    assert found == list(range(found[0], 60))
    assert RUN == 10_000


@given(st.floats(0.0, 1.0))
def test_what_stable_is_held_to_is_only_as_good_as_its_own_error(variance):
    lengths = windows(*wave(1.7, 100))
    assert fell(lengths, 2.0, 0.0)
    assert fell(lengths, 2.0, variance) == (detected([one.value for one in lengths], LIMIT - 2 * variance**0.5) >= RUN)
    assert not fell(lengths, 2.0, 0.01)


@pytest.mark.parametrize("values", [[math.nan, math.inf, -math.inf], []])
def test_what_is_no_number_says_nothing(values):
    assert detected(values, 0.0) == 0.0


def test_traffic_that_ended_begins_nothing():
    watch = Watch(stable=None, requests=100, windows=(Window(1000.0, 0.0),))
    assert watch.busy(20, 1000.0)
    assert not watch.busy(20, 3000.0)
    assert not watch.busy(101, 1000.0)


LENGTH = 60


def counters(per_minute, minutes, ratio, engines=("a",), quiet=()):
    """Stable's counters where each engine finishes so many requests a minute of 100 cycles each, scraped each 15 s."""
    out = Counters(Arm(1, 3), 0.0, from_zero=False, length=LENGTH)
    for engine in engines:
        finished, tokens, samples = 0.0, 0.0, [(0.0, (0.0,) * 9)]
        for at in range(4 * minutes):
            if at // 4 not in quiet:
                finished += per_minute / 4
                tokens += per_minute / 4 * 100 * ratio(at // 4)
            cycles = 100 * finished
            samples.append((15.0 * (at + 1), (finished, 0, 0, tokens, cycles, tokens, cycles, finished, finished)))
        labels = {"engine": engine, "version": "1", "steps": "3"}
        out.add([
            Series({**labels, "__name__": name}, tuple((time, row[i]) for time, row in samples))
            for i, name in enumerate(NAMES)
        ])  # fmt: skip
    return out


def test_at_one_request_a_minute_windows_are_longer_and_the_fall_is_seen_all_the_same():
    found = watched(counters(1, 360, lambda at: 2.0 if at < 180 else 1.4), "AcceptLength", LENGTH, 0.0, 0)
    assert len(found.windows) == 360 // FEWEST
    assert found.requests == 360
    assert fell(found.windows, 2.0, 1e-4)
    assert found.pace.requests_per_minute == pytest.approx(1.0, rel=0.02)
    assert found.pace.seconds_per_block == 120.0


@pytest.mark.parametrize(("engines", "canaries"), [(("a",), 0), (("a", "b", "c"), 1), (("a", "b", "c", "d"), 2)])
def test_differences_are_those_that_blocks_would_have(engines, canaries):
    """A level that alternates by 10 %: a crossover's sets cancel it, a switchback's slices do not."""
    found = watched(counters(60, 60, lambda at: 2.0 * (1.1 if at % 2 else 1.0), engines), "AcceptLength", LENGTH, 0.0,
                    canaries)  # fmt: skip
    assert found.pace.spread == pytest.approx(0.0, abs=1e-9)
    shifting = counters(60, 60, lambda at: 2.0 * (1.1 if at % 4 == 1 else 1.0), engines)
    spread = watched(shifting, "AcceptLength", LENGTH, 0.0, canaries).pace.spread
    assert spread == pytest.approx(0.0 if canaries else math.log(1.1) / 2, rel=0.05, abs=1e-9)


def test_slices_of_the_last_trial_and_quiet_ones_count_for_no_pace():
    quiet = range(20, 40)
    found = watched(counters(60, 60, lambda _: 2.0, quiet=quiet), "AcceptLength", LENGTH, 0.0, 0)
    assert found.pace.seconds_per_block == 120.0
    after = watched(counters(60, 60, lambda _: 2.0), "AcceptLength", LENGTH, 3000.0, 0)
    assert after.pace is None
    assert len(after.windows) == 60
    rare = watched(counters(60, 60, lambda _: 2.0, quiet=range(2, 60)), "AcceptLength", LENGTH, 0.0, 0).pace
    assert rare.seconds_per_block == 3600.0
    assert rare.spread == 0.5


def test_where_little_finishes_in_a_slice_longer_ones_are_known_too():
    rng = random.Random(3)
    shape = [2.0 * math.exp(rng.gauss(0, 0.1)) for _ in range(360)]
    found = watched(counters(10, 360, lambda at: shape[at]), "AcceptLength", LENGTH, 0.0, 0)
    assert set(found.longer) == {2, 4, 8, 16}
    assert found.longer[4].seconds_per_block == 4 * found.pace.seconds_per_block
    assert found.longer[4].spread == pytest.approx(found.pace.spread / 2, rel=0.4)
    # Slices of the last trial are left out of them as well.
    after = watched(counters(10, 360, lambda at: shape[at]), "AcceptLength", LENGTH, 300 * 60.0, 0)
    assert set(after.longer) == {2, 4}
