"""Counters as Prometheus keeps them: resets, gaps, duplicates, NaN; nothing of before, nothing twice."""

import itertools
import math
import random

import pytest
from aurora_operator.promotion.counters import NAMES, Arm, Counters, Series, increments
from aurora_operator.promotion.measure import by_engine_slice, by_slice, closed_slices
from aurora_operator.promotion.statistics import Sums, compare
from hypothesis import given
from hypothesis import strategies as st

ARM = Arm(3, 3)


def series(rows, engine="a", version=3, job="pods"):
    """Six counters of one engine from rows of (time, n, x, y, xx, xy, yy)."""
    labels = {"engine": engine, "version": str(version), "steps": "3", "job": job}
    return [
        Series({**labels, "__name__": name}, tuple((row[0], row[i + 1]) for row in rows))
        for i, name in enumerate(NAMES["AcceptLength"])
    ]


def totals(*pieces, from_zero=False):
    counters = Counters("AcceptLength", ARM, 10.0, from_zero=from_zero)
    for piece in pieces:
        counters.add(piece)
    return counters.requests()


def test_only_what_came_after_the_start_counts():
    rows = [(8, 5, 50, 25, 500, 250, 125), (12, 7, 70, 35, 700, 350, 175), (14, 8, 82, 40, 844, 410, 200)]
    assert totals(series(rows)) == Sums(3, 32, 15, 344, 160, 75)


def test_without_a_scrape_before_the_start_an_old_series_counts_from_its_first_scrape():
    rows = [(12, 7, 70, 35, 700, 350, 175), (14, 8, 82, 40, 844, 410, 200)]
    assert totals(series(rows)) == Sums(1, 12, 5, 144, 60, 25)


def test_a_version_that_never_served_before_counts_from_zero():
    rows = [(12, 7, 70, 35, 700, 350, 175)]
    assert totals(series(rows), from_zero=True) == Sums(7, 70, 35, 700, 350, 175)


def test_a_restarted_engine_is_a_reset_and_loses_nothing():
    rows = [(8, 5, 50, 25, 500, 250, 125), (12, 2, 20, 10, 200, 100, 50), (14, 3, 30, 15, 300, 150, 75)]
    assert totals(series(rows)) == Sums(3, 30, 15, 300, 150, 75)


def test_the_same_engine_scraped_twice_counts_once():
    rows = [(8, 5, 50, 25, 500, 250, 125), (12, 7, 70, 35, 700, 350, 175)]
    late = [(8, 5, 50, 25, 500, 250, 125)]
    assert totals(series(rows) + series(late, job="other")) == totals(series(rows))


def test_engines_add_up_and_other_versions_do_not():
    rows = [(8, 0, 0, 0, 0, 0, 0), (12, 1, 10, 5, 100, 50, 25)]
    assert totals(series(rows) + series(rows, engine="b") + series(rows, version=2)).n == 2


def test_scrapes_with_nan_or_with_a_missing_counter_are_left_out():
    rows = [(8, 5, 50, 25, 500, 250, 125), (11, 6, math.nan, 30, 600, 300, 150), (12, 7, 70, 35, 700, 350, 175)]
    assert totals(series(rows)) == Sums(2, 20, 10, 200, 100, 50)
    assert totals(series(rows)[:-1]) == Sums()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.integers(0, 39))
def test_whatever_resets_and_scrapes_the_increase_is_what_was_added(steps, start):
    """Adds and restarts at random; each step is scraped, so not one request is lost or counted twice."""
    value, rows, added = 0, [], []
    for time, (add, restart) in enumerate(steps):
        value = add if restart else value + add
        rows.append((float(time), (float(value),)))
        # A restart whose count at once reaches the old value cannot be seen; Prometheus has the same limit.
        hidden = restart and time > 0 and value >= rows[time - 1][1][0]
        added.append(value - rows[time - 1][1][0] if hidden else add)
    since = min(start, len(steps) - 1)
    found = increments(rows, float(since), from_zero=False)
    assert sum(row[0] for _, row in found) == pytest.approx(sum(added[since + 1 :]))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30), st.data())
def test_read_in_pieces_that_overlap_it_adds_up_to_the_same(steps, data):
    value, rows = 0, []
    for time, (add, restart) in enumerate(steps):
        value = add if restart else value + add
        rows.append((float(time), *(float(value),) * 6))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(steps)), max_size=4)))
    pieces = [rows[max(0, a - 3) : b] for a, b in itertools.pairwise([0, *cuts, len(steps)])]
    assert totals(*map(series, pieces)) == totals(series(rows))


def test_a_second_prometheus_that_scraped_at_other_moments_continues_where_the_first_stopped():
    first = [(8, 5, 50, 25, 500, 250, 125), (12, 7, 70, 35, 700, 350, 175)]
    second = [(9, 5, 50, 25, 500, 250, 125), (11, 6, 60, 30, 600, 300, 150), (13, 8, 80, 40, 800, 400, 200)]
    assert totals(series(first), series(second)) == Sums(3, 30, 15, 300, 150, 75)


def row(x, y):
    return (1, x, y, x * x, x * y, y * y)


def test_a_request_that_ends_in_the_other_sides_slice_belongs_to_its_own():
    found = {"a": {0: row(10, 5), 1: row(12, 6), 2: row(8, 4)}}
    assert by_slice(found, lambda index: index % 2 == 0) == Sums.of([(22, 11), (8, 4)])


def test_all_engines_together_are_a_slice_and_the_one_that_runs_is_not_whole_yet():
    found = {"a": {0: row(10, 5), 1: row(3, 2)}, "b": {0: row(12, 6)}}
    assert by_slice(closed_slices(found, 1), lambda _: True) == Sums.of([(22, 11)])


def test_an_engines_slice_is_a_unit_and_belongs_to_the_side_that_it_mostly_worked_for():
    """Engine a serves the candidate, then stable; what it still had to finish comes a slice late. b serves stable."""
    candidate = {"a": {0: row(20, 10), 1: row(2, 1), 2: row(9, 3)}}
    stable = {"a": {1: row(8, 8)}, "b": {0: row(7, 7), 1: row(6, 6)}}
    assert by_engine_slice(candidate, stable) == Sums.of([(22, 11), (9, 3)])
    assert by_engine_slice(stable, candidate) == Sums.of([(8, 8), (7, 7), (6, 6)])


def fleet(rng, speeds, slices, requests):
    """Equal drafts on pods that differ, one of them the canary of each slice: both sides' slices by engine."""
    sides = {True: {}, False: {}}
    for at in range(slices):
        chosen = rng.choice(sorted(speeds))
        for engine, speed in speeds.items():
            load = speed * rng.gauss(1, 0.05)
            rows = [row(load * rng.gauss(100, 10), 1.0) for _ in range(requests)]
            sides[engine == chosen].setdefault(engine, {})[at] = tuple(map(sum, zip(*rows, strict=True)))
    return sides[True], sides[False]


def by_request(found):
    return sum((Sums(*one) for slices in found.values() for one in slices.values()), Sums())


def test_pods_that_differ_promote_no_equal_draft():
    """By requests they would: those of one pod and moment resemble each other, and seem to be more than they are."""
    rng, wrong = random.Random(0), {"slices": 0, "requests": 0}
    for _ in range(100):
        candidate, stable = fleet(rng, {"a": 1.0, "b": 0.85, "c": 1.1, "d": 1.15}, 20, 20)
        sums = {
            "slices": (by_engine_slice(candidate, stable), by_engine_slice(stable, candidate)),
            "requests": (by_request(candidate), by_request(stable)),
        }
        for units, sides in sums.items():
            wrong[units] += compare(*sides, 0.95).lower > 1
    assert wrong["slices"] <= 5
    assert wrong["requests"] > 10
