"""When stable is challenged without a new version: its accept length fell, or target-only may be faster."""

import math
from datetime import timedelta

import pytest
from aurora_operator.api.status import Candidate, Entry, Stable, Status
from aurora_operator.promotion import outcome
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.forecast import Pace
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.manual import PROMOTE
from aurora_operator.promotion.progress import Progress, Published
from aurora_operator.promotion.statistics import Sums
from aurora_operator.promotion.watch import PATIENCE_SECONDS, Watch, Window
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW
from trial_support import HELD, STABLE, TRIAL, after, analyse, evidence, later, on_trial, units

ON_DISK = [Published(v, 2.0) for v in range(3)]


def watching(length, requests=100, now=NOW, pace=None):
    """60 windows up to ``now``, in which accept length is around ``length``."""
    windows = [Window(now.timestamp() - 60 * i, math.log(length * (1 + 0.05 * (-1) ** i))) for i in range(60)]
    return Watch(units(length), requests, tuple(reversed(windows)), pace)


def target_only(now):
    """Traffic without speculation."""
    return Watch(Sums(), 100, (Window(now.timestamp(), 0.0),))


def test_a_fall_of_accept_length_puts_the_version_before_on_trial_and_its_win_is_a_rollback():
    at = analyse(Status(stable=HELD, decided=2), versions=ON_DISK, watch=watching(1.5))
    assert (at.candidate.kind, at.candidate.version, at.candidate.metric) == ("Previous", 1, "AcceptLength")
    back = analyse(after(at), versions=ON_DISK, found=evidence(2.5), now=later(99))
    assert (back.stable.version, back.stable.previous, back.history[0].verdict) == (1, None, "RolledBack")
    assert back.history[0].version == 2
    assert back.history[0].lower > 1
    assert analyse(after(back), versions=ON_DISK, now=later(120)).candidate is None


def test_where_traffic_changed_for_both_stable_stays_and_is_measured_afresh():
    at = analyse(Status(stable=HELD, decided=2), versions=ON_DISK, watch=watching(1.5))
    kept = analyse(after(at), versions=ON_DISK, found=evidence(1.0), now=later(99))
    assert (kept.stable.version, kept.stable.accept_length, kept.history[0].verdict) == (2, None, "StableKept")
    following = analyse(after(kept), versions=ON_DISK, watch=watching(1.5), now=later(120))
    assert (following.stable.accept_length, following.candidate) == (pytest.approx(1.5), None)


def test_a_challenge_in_vain_forbids_another_for_a_month_whatever_traffic_does():
    at = analyse(Status(stable=HELD, decided=2), versions=ON_DISK, watch=watching(1.5))
    kept = analyse(after(at), versions=ON_DISK, found=evidence(1.0), now=later(99))
    assert kept.challenged == later(99)
    held = after(kept).model_copy(update={"stable": HELD.model_copy(update={"checked": later(PATIENCE_SECONDS)})})
    for seconds, kind in ((200, None), (PATIENCE_SECONDS, None), (PATIENCE_SECONDS + 100, "Previous")):
        begun = analyse(held, versions=ON_DISK, watch=watching(1.5, now=later(seconds)), now=later(seconds)).candidate
        assert (begun and begun.kind) == kind


@pytest.mark.parametrize(("measured", "held"), [(1.95, 1.95), (2.1, 2.1), (1.8, 2.0)])
def test_what_a_winner_is_held_to_is_measured_again_unless_it_fell(measured, held):
    promoted = HELD.model_copy(update={"previous": None})
    at = analyse(Status(stable=promoted, decided=2), versions=ON_DISK, watch=watching(measured))
    assert (at.stable.accept_length, at.stable.accept_confirmed) == (pytest.approx(held), measured != 1.8)


RARE = Pace("AcceptLength", 0.3, 3600.0, 0.02)


def test_a_trial_that_cannot_end_is_not_begun_and_says_at_how_many_requests_a_minute():
    status, versions = Status(stable=STABLE, decided=4), [Published(5, 2.0)]
    at = analyse(status, versions=versions, watch=watching(2.0, pace=RARE))
    assert (at.candidate, at.reason, at.forecast.smallest) == (None, "NotDecidable", None)
    assert "version 5 waits: not decidable at 0.02 requests a minute" in at.message
    assert at.budget is None
    still = analyse(after(at), versions=versions)
    assert (still.candidate, still.reason) == (None, "NotDecidable")
    busy = watching(2.0, pace=Pace("AcceptLength", 0.05, 120.0, 60.0))
    begun = analyse(after(at), versions=versions, watch=busy)
    assert (begun.candidate.version, begun.forecast.smallest) == (5, 0.01)


def test_a_trial_under_way_says_so_where_it_cannot_end():
    wild = tuple(Block(0.8 * (-1) ** i, 10.0) for i in range(8))
    found = Evidence(Trial(wild, 0, units(2.0), units(2.0)), candidate_requests=30, stable_requests=30)
    at = analyse(on_trial(), found=found, now=later(80_000))
    assert (at.candidate.version, at.reason) == (5, "NotDecidable")
    assert "not decidable at 0.045 requests a minute" in at.message
    fine = analyse(on_trial(), found=evidence(2.0), now=later(3600))
    assert (fine.reason, fine.forecast.seconds_per_block) == ("Undecided", 120.0)


@pytest.mark.parametrize("watch", [None, watching(2.0), watching(1.95), watching(1.5, requests=3)])
def test_no_fall_no_trial(watch):
    assert analyse(Status(stable=HELD, decided=2), versions=ON_DISK, watch=watch).candidate is None


def test_a_promotion_manually_answers_for_what_was_served_before():
    status = Status(stable=HELD, candidate=TRIAL, decided=4)
    at = analyse(status, {PROMOTE: "5"})
    assert (at.stable.version, at.stable.accept_length) == (5, 2.0)
    worse = analyse(after(at), versions=[*ON_DISK, Published(5, 2.0)], watch=watching(1.0), now=later(60))
    assert (worse.candidate.kind, worse.candidate.version) == ("Previous", 2)


def test_speculation_proves_itself_against_none_every_hour_and_is_switched_off_where_it_is_slower():
    status = Status(stable=HELD, decided=2)
    assert analyse(status, versions=ON_DISK, watch=watching(2.0, now=later(3500)), now=later(3500)).candidate is None
    at = analyse(status, versions=ON_DISK, watch=watching(2.0, now=later(3700)), now=later(3700))
    assert (at.candidate.kind, at.candidate.version, at.candidate.steps) == ("TargetOnly", 2, 0)
    assert at.candidate.metric == "DecodeSpeed"
    kept = analyse(after(at), versions=ON_DISK, found=evidence(1.5), now=later(3800))
    assert (kept.stable.steps, kept.stable.checked, kept.history[0].verdict) == (3, later(3800), "SpeculationKept")
    off = analyse(after(at), versions=ON_DISK, found=evidence(2.5), now=later(3800))
    assert (off.stable.version, off.stable.steps, off.stable.previous) == (2, 0, 1)
    assert off.history[0].verdict == "SpeculationOff"
    idle = analyse(after(off), versions=ON_DISK, watch=target_only(later(5000)), now=later(5000))
    assert idle.candidate is None
    again = analyse(after(off), versions=ON_DISK, watch=target_only(later(7500)), now=later(7500))
    assert (again.candidate.kind, again.candidate.version, again.candidate.steps) == ("Again", 2, 3)
    on = analyse(after(again), versions=ON_DISK, found=evidence(2.5), now=later(7600))
    assert (on.stable.version, on.stable.steps, on.history[0].verdict) == (2, 3, "SpeculationOn")


def test_a_comparison_with_none_that_changes_nothing_is_repeated_ever_more_rarely():
    status, at = Status(stable=HELD, decided=2), NOW
    waits = []
    for _ in range(7):
        began = at
        while True:
            at += timedelta(minutes=10)
            begun = analyse(status, versions=ON_DISK, watch=watching(2.0, now=at), now=at)
            if begun.candidate is not None:
                break
        waits.append((at - began).total_seconds() / 3600)
        kept = analyse(after(begun), versions=ON_DISK, found=evidence(1.5), now=at)
        status = after(kept)
    assert waits == [1, 2, 4, 8, 16, 24, 24]
    won = analyse(after(begun), versions=ON_DISK, found=evidence(2.5), now=at)
    again = analyse(
        after(won), versions=ON_DISK, watch=target_only(at + timedelta(hours=1)), now=at + timedelta(hours=1)
    )
    assert again.candidate.kind == "Again"


def test_without_traffic_nothing_is_challenged():
    status = Status(stable=HELD, decided=2)
    for watch in (None, watching(2.0, requests=0)):
        assert analyse(status, versions=ON_DISK, watch=watch, now=later(99999)).candidate is None
    never = {"prometheus": {"url": "http://p"}, "recheckSeconds": 0}
    assert analyse(status, watch=watching(2.0), now=later(99999), promotion=never).candidate is None


@pytest.mark.parametrize(("strategy", "begins"), [("Immediate", 0), ("Manual", 0), ("Switchback", 2)])
def test_where_a_person_or_nobody_decides_nothing_is_challenged(strategy, begins):
    promotion, late = {"strategy": strategy, "prometheus": {"url": "http://p"}}, later(99999)
    seen = [
        analyse(Status(stable=HELD, decided=2), versions=ON_DISK, watch=watch, now=late, promotion=promotion)
        for watch in (watching(1.5, now=late), watching(2.0, now=late))
    ]
    assert sum(at.candidate is not None for at in seen) == begins


def test_day_zero_is_not_tried_again_before_there_is_a_draft():
    stable = Stable(version=0, steps=0, since=NOW)
    assert analyse(Status(stable=stable), watch=target_only(later(9999)), now=later(9999)).candidate is None


@given(st.lists(st.tuples(st.floats(60, 3600), st.floats(0.02, 1.2) | st.none()), min_size=1, max_size=12))
def test_all_comparisons_with_target_only_cost_at_most_a_hundredth_of_throughput(trials):
    """Each takes so long with such an estimate, and begins as soon as it may, while versions change all the time."""
    stable, now, cost = STABLE.model_copy(update={"since": NOW}), NOW + timedelta(hours=1), 0.0
    for seconds, estimate in trials:
        began = now
        assert cost <= 0.01 * (began - NOW).total_seconds() + 1e-6
        now += timedelta(seconds=seconds)
        on = Candidate(version=2, steps=0, kind="TargetOnly", since=began, metric="DecodeSpeed", estimate=estimate)
        at = outcome.lost(Progress(stable, on, 2, (), (), "", ""), on, "no", now)
        cost += 0.5 * seconds * (0.5 if estimate is None else max(0.0, 1 - estimate))
        newer = Candidate(version=at.stable.version + 1, steps=3, since=now, estimate=1.1)
        stable = outcome.won(at, newer, "better", now).stable
        now = max(now, stable.recheck_after)


def test_a_comparison_that_was_dear_is_not_repeated_before_the_others_paid_for_it():
    dear = HELD.model_copy(update={"checked": NOW, "recheck_after": later(40_000)})
    history = [Entry(time=NOW, version=2, verdict="Promoted", reason="")]
    for seconds, begins in ((39_000, False), (40_001, True)):
        status = Status(stable=dear, decided=2, history=history)
        at = analyse(status, watch=target_only(later(seconds)), now=later(seconds))
        assert (at.candidate is not None and at.candidate.kind == "TargetOnly") == begins
