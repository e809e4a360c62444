"""Counters as Prometheus keeps them: resets, gaps, duplicates, NaN; nothing of before, nothing twice."""

import itertools
import math

import pytest
from aurora_operator.promotion.counters import NAMES, Arm, Counters, Row, Series, increments
from hypothesis import given
from hypothesis import strategies as st

ARM = Arm(3, 3)


def series(rows, engine="a", version=3, job="pods"):
    """The counters of one engine from rows of (time, finished requests, tokens, cycles)."""
    labels = {"engine": engine, "version": str(version), "steps": "3", "job": job}
    at = dict(zip(NAMES, (1, None, None, 2, 3, None, None, None, None), strict=True))
    return [
        Series({**labels, "__name__": name}, tuple((row[0], row[i] if i else 0.0) for row in rows))
        for name, i in at.items()
    ]


def plain(row):
    return row.finished, row.tokens, row.cycles


def counted(*pieces, from_zero=False, length=1e6):
    counters = Counters(ARM, 10.0, from_zero=from_zero, length=length)
    for piece in pieces:
        counters.add(piece)
    return counters


def totals(*pieces, **more):
    rows = [plain(slices.total()) for slices in counted(*pieces, **more).engines.values()]
    return tuple(map(sum, zip(*rows, strict=True))) if rows else ()


def test_only_what_came_after_the_start_counts():
    assert totals(series([(8, 5, 50, 25), (12, 7, 70, 35), (14, 8, 82, 40)])) == (3, 32, 15)


def test_without_a_scrape_before_the_start_an_old_series_counts_from_its_first_scrape():
    assert totals(series([(12, 7, 70, 35), (14, 8, 82, 40)])) == (1, 12, 5)


def test_a_version_that_never_served_before_counts_from_zero():
    assert totals(series([(12, 7, 70, 35)]), from_zero=True) == (7, 70, 35)


def test_a_restarted_engine_is_a_reset_and_loses_nothing():
    assert totals(series([(8, 5, 50, 25), (12, 2, 20, 10), (14, 3, 30, 15)])) == (3, 30, 15)


def test_the_same_engine_scraped_twice_counts_once():
    rows, late = [(8, 5, 50, 25), (12, 7, 70, 35)], [(8, 5, 50, 25)]
    assert totals(series(rows) + series(late, job="other")) == totals(series(rows))


def test_engines_add_up_and_other_versions_do_not():
    rows = [(8, 0, 0, 0), (12, 1, 10, 5)]
    assert totals(series(rows) + series(rows, engine="b") + series(rows, version=2)) == (2, 20, 10)


def test_scrapes_with_nan_or_with_a_missing_counter_are_left_out():
    rows = [(8, 5, 50, 25), (11, 6, math.nan, 30), (12, 7, 70, 35)]
    assert totals(series(rows)) == (2, 20, 10)
    assert totals(series(rows)[1:]) == (0, 0, 0)


def test_an_engine_from_before_first_tokens_were_counted_brings_all_else():
    rows = series([(8, 5, 50, 25), (12, 7, 70, 35)])
    old = [one for one in rows if "first" not in one.labels["__name__"]]
    assert len(old) == len(rows) - 2
    assert totals(old) == totals(rows) == (2, 20, 10)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.integers(0, 39))
def test_whatever_resets_and_scrapes_the_increase_is_what_was_added(steps, start):
    """Adds and restarts at random; each step is scraped, so nothing is lost or counted twice."""
    value, rows, added = 0, [], []
    for time, (add, restart) in enumerate(steps):
        value = add if restart else value + add
        rows.append((float(time), Row(finished=float(value))))
        # A restart whose count at once reaches the old value cannot be seen; Prometheus has the same limit.
        hidden = restart and time > 0 and value >= rows[time - 1][1].finished
        added.append(value - rows[time - 1][1].finished if hidden else add)
    since = min(start, len(steps) - 1)
    found = increments(rows, float(since), from_zero=False)
    assert sum(span.row.finished for span in found) == pytest.approx(sum(added[since + 1 :]))
    assert [(span.start, span.end) for span in found] == [(t, t + 1) for t in range(since, len(steps) - 1)]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30), st.data())
def test_read_in_pieces_that_overlap_it_adds_up_to_the_same(steps, data):
    value, rows = 0, []
    for time, (add, restart) in enumerate(steps):
        value = add if restart else value + add
        rows.append((float(time), *(float(value),) * 3))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(steps)), max_size=4)))
    pieces = [rows[max(0, a - 3) : b] for a, b in itertools.pairwise([0, *cuts, len(steps)])]
    assert totals(*map(series, pieces)) == totals(series(rows))


def test_a_second_prometheus_that_scraped_at_other_moments_continues_where_the_first_stopped():
    first = [(8, 5, 50, 25), (12, 7, 70, 35)]
    second = [(9, 5, 50, 25), (11, 6, 60, 30), (13, 8, 80, 40)]
    assert totals(series(first), series(second)) == (3, 30, 15)


def test_work_is_sorted_into_slices_and_what_lies_across_a_border_is_kept_apart():
    """Slices of 10 s from second 10: 10 to 20, 20 to 30, 30 to 40, 40 to 50."""
    rows = [(10, 0, 0, 0), (14, 1, 10, 5), (20, 2, 30, 15), (24, 3, 36, 18), (34, 4, 46, 23), (38, 5, 48, 24)]
    (slices,) = counted(series(rows), length=10.0).engines.values()
    assert {at: plain(row) for at, row in slices.inside.items()} == {0: (2, 30, 15), 1: (1, 6, 3), 2: (1, 2, 1)}
    assert {at: (share, plain(row)) for at, (share, row) in slices.across.items()} == {1: (0.6, (1, 10, 5))}
    assert not slices.gaps


def test_slices_that_no_scrape_separates_are_a_gap_unless_nothing_was_done():
    worked = counted(series([(10, 0, 0, 0), (35, 1, 10, 5)]), length=10.0).engines["a"]
    assert (worked.inside, worked.across, worked.gaps) == ({}, {}, {0, 1, 2})
    assert not counted(series([(10, 1, 10, 5), (35, 1, 10, 5)]), length=10.0).engines["a"].gaps
