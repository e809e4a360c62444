"""Counters as Prometheus keeps them: resets, gaps, twins, NaN; nothing of before, nothing twice."""

import math

import pytest
from aurora_operator.promotion.measure import (
    NAMES,
    Arm,
    Series,
    arm_increments,
    by_request,
    by_slice,
    increments,
)
from aurora_operator.promotion.statistics import Sums
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


def totals(found):
    return by_request(arm_increments(found, "AcceptLength", ARM, 10.0, born=False))


def test_only_what_came_after_the_start_counts():
    rows = [(8, 5, 50, 25, 500, 250, 125), (12, 7, 70, 35, 700, 350, 175), (14, 8, 82, 40, 844, 410, 200)]
    assert totals(series(rows)) == Sums(3, 32, 15, 344, 160, 75)


def test_without_a_scrape_before_the_start_an_old_series_counts_from_its_first_scrape():
    rows = [(12, 7, 70, 35, 700, 350, 175), (14, 8, 82, 40, 844, 410, 200)]
    assert totals(series(rows)) == Sums(1, 12, 5, 144, 60, 25)


def test_a_version_that_never_served_before_counts_from_zero():
    rows = [(12, 7, 70, 35, 700, 350, 175)]
    assert by_request(arm_increments(series(rows), "AcceptLength", ARM, 10.0, born=True)) == Sums(
        7, 70, 35, 700, 350, 175
    )


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
    found = increments(rows, float(since), born=False)
    assert sum(row[0] for _, row in found) == pytest.approx(sum(added[since + 1 :]))


def test_a_request_that_ends_in_the_other_sides_slice_belongs_to_its_own():
    found = [(1.0, (1, 10, 5)), (11.0, (1, 12, 6)), (21.0, (1, 8, 4))]
    sums = by_slice(found, lambda time: int(time // 10), lambda index: index % 2 == 0)
    assert sums == Sums.of([(22, 11), (8, 4)])
