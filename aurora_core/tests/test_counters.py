"""Work counts for the arm that did it, when it is done, whatever becomes of the request."""

import pytest
from aurora_core.engine.counters import KEPT, Arm, CycleCounters
from hypothesis import given
from hypothesis import strategies as st

cycles = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, KEPT - 1), st.sampled_from([0, 3]), st.integers(1, 4)), max_size=60
)


def counters_of(*versions):
    counters = CycleCounters(versions[0])
    for version in versions:
        counters.activated(version)
    return counters


@given(cycles)
def test_every_cycle_counts_at_once_for_the_arm_that_it_ran_under(events):
    counters, expected = counters_of(*range(KEPT)), {}
    for request, version, steps, tokens in events:
        counters.cycle(str(request), Arm(version, steps), tokens, 0.0)
        sums = expected.setdefault((version, steps), [0, 0])
        sums[0] += tokens
        sums[1] += 1
        assert {tuple(arm): [t.tokens, t.cycles] for arm, t in counters.arms.items()} == expected


def test_decode_speed_leaves_out_the_first_cycle_and_is_split_at_a_swap():
    counters = counters_of(1, 2)
    for now, version, tokens in [(1.0, 1, 3), (1.5, 1, 2), (2.0, 1, 4), (3.0, 2, 5), (3.5, 2, 1)]:
        counters.cycle("a", Arm(version, 3), tokens, now)
    first, second = counters.arms[Arm(1, 3)], counters.arms[Arm(2, 3)]
    assert (first.timed_tokens, first.seconds) == (6, 1.0)
    assert (second.timed_tokens, second.seconds) == (6, 1.5)


def test_requests_that_run_side_by_side_each_bring_their_own_seconds():
    counters = counters_of(1)
    for now in (1.0, 2.0, 3.0):
        for request in ("a", "b"):
            counters.cycle(request, Arm(1, 3), 2, now)
    totals = counters.arms[Arm(1, 3)]
    assert (totals.timed_tokens, totals.seconds, totals.tokens) == (8, 4.0, 12)


def test_the_wait_for_the_first_token_counts_once_for_the_arm_of_the_first_cycle():
    counters = counters_of(1, 2)
    counters.cycle("a", Arm(1, 3), 2, 1.0, 0.25)
    counters.cycle("a", Arm(2, 3), 2, 2.0, 0.25)
    counters.cycle("b", Arm(2, 3), 2, 2.0, 0.5)
    counters.cycle("c", Arm(2, 3), 2, 2.0, None)
    found = {arm.version: totals.reported(arm) for arm, totals in counters.arms.items()}
    assert (found[1].first_tokens, found[1].first_seconds) == (1, 0.25)
    assert (found[2].first_tokens, found[2].first_seconds) == (1, 0.5)


@pytest.mark.parametrize("how", ["finished", "aborted", "failed"])
def test_how_a_request_ended_counts_for_its_last_arm_and_takes_no_work_back(how):
    counters = counters_of(1, 2)
    counters.cycle("a", Arm(1, 3), 2, 0.0)
    counters.cycle("a", Arm(2, 3), 2, 0.0)
    counters.ended("a", how)
    counters.ended("a", how)
    counters.ended("never decoded", how)
    reported = {arm: totals.reported(arm) for arm, totals in counters.arms.items()}
    assert getattr(reported[Arm(2, 3)], f"requests_{how}") == 1
    assert getattr(reported[Arm(1, 3)], f"requests_{how}") == 0
    assert [one.accept_tokens for one in reported.values()] == [2, 2]


def serve(counters, request, version, steps=3):
    counters.cycle(request, Arm(version, steps), 2, 0.0)
    counters.ended(request, "finished")


def test_counters_are_kept_of_the_versions_that_were_live_last():
    counters = CycleCounters(0)
    for version in range(1, 6):
        counters.activated(version)
        serve(counters, "a", version)
    assert {arm.version for arm in counters.arms} == {3, 4, 5}
    counters.activated(3)
    counters.activated(6)
    assert {arm.version for arm in counters.arms} == {3, 5}


def test_a_request_that_outlives_its_version_brings_no_series_back():
    counters = CycleCounters(0)
    counters.cycle("slow", Arm(0, 3), 2, 0.0)
    for version in range(1, KEPT + 1):
        counters.activated(version)
    counters.cycle("slow", Arm(0, 3), 2, 1.0)
    counters.ended("slow", "finished")
    assert counters.arms == {}


@given(st.lists(st.booleans(), max_size=30))
def test_a_trial_that_alternates_never_loses_a_counter(slices):
    counters = CycleCounters(4)
    for version in (4, 5):
        counters.activated(version)
        serve(counters, "a", version)
    for candidate in slices:
        arm = Arm(7 if candidate else 5, 3)
        before = counters.arms[arm].cycles if arm in counters.arms else 0
        counters.activated(arm.version)
        serve(counters, "b", arm.version)
        assert counters.arms[arm].cycles == before + 1
