"""Candidates: one at a time, each decided once, none without proof; what a pod serves follows from the clock alone."""

import math
from datetime import timedelta

import pytest
from aurora_operator.api.status import Candidate, Entry, Stable, Status
from aurora_operator.promotion import outcome
from aurora_operator.promotion.assignment import assignments
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.forecast import Pace
from aurora_operator.promotion.gate import Evidence, GuardResult
from aurora_operator.promotion.manual import PAUSE, PROMOTE, REJECT
from aurora_operator.promotion.progress import Pod, Progress, Published
from aurora_operator.promotion.statistics import Sums
from aurora_operator.promotion.trial import Found, Seen, advance, first_stable
from aurora_operator.promotion.watch import PATIENCE_SECONDS, Watch, Window
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_spec
from trial_support import PODS, STABLE, TRIAL, after, analyse, evidence, on_trial, units


def test_day_zero_starts_without_speculation_and_a_checkpoint_with_it():
    assert first_stable(a_spec(), NOW).steps == 0
    draft = {"checkpoint": "/model/draft"}
    assert first_stable(a_spec(mode="ExternalWithDraft", draft=draft), NOW).steps == 3


def test_the_newest_undecided_version_goes_on_trial():
    at = analyse(Status(stable=STABLE, decided=3), versions=[Published(v, 2.0) for v in range(6)])
    assert at.candidate.version == 5
    assert analyse(Status(stable=STABLE, decided=5), versions=[Published(5, 2.0)]).candidate is None


def test_proof_promotes_and_remembers_the_way_back():
    at = analyse(on_trial(), found=evidence(2.5))
    assert (at.stable.version, at.stable.previous, at.candidate, at.decided) == (5, 2, None, 5)
    assert at.history[0].verdict == "Promoted"
    assert at.history[0].lower > 1


def test_while_it_is_on_trial_the_status_has_the_blocks_and_the_plain_ratio():
    at = analyse(on_trial(), found=evidence(2.02))
    assert (at.reason, at.candidate.blocks, at.candidate.void_blocks) == ("Undecided", 30, 0)
    assert at.candidate.ratio_of_sums == pytest.approx(1.01)
    assert 0 < at.candidate.progress < 1


def test_a_worse_one_is_rejected_and_never_tried_again():
    at = analyse(on_trial(), found=evidence(1.5), versions=[Published(5, 2.0)])
    assert (at.stable, at.candidate, at.decided, at.history[0].verdict) == (STABLE, None, 5, "Rejected")
    after = analyse(Status(stable=at.stable, decided=at.decided), versions=[Published(5, 2.0)])
    assert after.candidate is None


@pytest.mark.parametrize("found", [None, Evidence(problem="Prometheus does not answer")])
def test_without_evidence_nothing_happens_but_a_reason(found):
    at = analyse(on_trial(), found=found)
    assert (at.stable.version, at.candidate.version, at.reason) == (2, 5, "NoData")


def test_a_day_without_traffic_ends_the_trial_and_burns_no_version():
    late = NOW + timedelta(days=1)
    quiet, versions = Evidence(candidate_requests=3, stable_requests=2), [Published(5, 2.0)]
    at = analyse(on_trial(), found=quiet, versions=versions, now=late)
    assert (at.stable, at.candidate, at.decided, at.history[0].verdict) == (STABLE, None, 4, "NoEvidence")
    # The next one waits for traffic, which the forecast knows of.
    waits = analyse(after(at), versions=versions, now=late)
    assert (waits.reason, waits.candidate) == ("NotDecidable", None)
    status = after(at).model_copy(update={"forecast": None})
    assert analyse(status, versions=versions, now=late).candidate.version == 5
    assert analyse(status, versions=[*versions, Published(6, 2.0)], now=late).candidate.version == 6


def test_a_refused_version_is_rejected():
    at = analyse(on_trial(), pods=(Pod("a", "x", 2, 3, 1.0, failed={5: "version 5 is corrupt"}),))
    assert at.history[0].verdict == "Rejected"
    assert "corrupt" in at.history[0].reason


@pytest.mark.parametrize(
    ("estimate", "holdout", "number"), [(None, 2.1, 6), (None, 2.05, 5), (1.0, 2.1, 5), (1.0, 2.3, 6)]
)
def test_a_better_successor_takes_the_place_of_an_undecided_one_the_sooner_the_less_is_lost(estimate, holdout, number):
    trial = TRIAL.model_copy(update={"estimate": estimate, "lower": 0.9, "upper": 1.1})
    status = Status(stable=STABLE, candidate=trial, decided=4)
    newer = Published(6, holdout, parent=5, gain=holdout / 2.0, gain_error=0.001)
    at = analyse(status, found=evidence(2.0), versions=[Published(5, 2.0), newer])
    assert at.candidate.version == number
    assert [e.verdict for e in at.history] == ["Superseded"] * (number - 5)


def test_suspended_nothing_is_decided():
    at = analyse(on_trial(), found=evidence(2.5), suspend=True)
    assert (at.stable, at.reason) == (STABLE, "Suspended")


@given(st.integers(0, 10_000))
def test_switchback_gives_each_side_one_of_every_two_slices(pair):
    spec = a_spec()
    slices = [TRIAL.since + timedelta(seconds=60 * (2 * pair + i) + 1) for i in range(2)]
    served = {assignments(spec, STABLE, TRIAL, "u", PODS, now)["a"] for now in slices}
    assert served == {(2, 3), (5, 3)}


@given(st.integers(2, 12), st.integers(1, 11), st.integers(0, 500))
def test_canary_never_takes_more_than_half_of_the_pods_and_rotates(count, desired, rotation):
    replicas = max(count, desired + 1)
    spec = a_spec(
        serving={"replicas": replicas},
        promotion={
            "prometheus": {"url": "http://p"},
            "canary": {"replicas": desired},
        },
    )
    pods = tuple(Pod(f"p{i}", "x", 2, 3, 1.0) for i in range(count))
    served = assignments(spec, STABLE, TRIAL, "u", pods, NOW + timedelta(seconds=60 * rotation))
    assert sum(version == 5 for version, _ in served.values()) == min(desired, count // 2)


def test_history_keeps_ten():
    status = on_trial()
    for _ in range(15):
        at = analyse(status, {REJECT: "5"})
        status = Status(stable=at.stable, candidate=TRIAL, decided=at.decided, history=list(at.history))
    assert len(status.history) == 10


HELD = Stable(version=2, steps=3, since=NOW, previous=1, previous_steps=3, accept_length=2.0, accept_variance=1e-4)
ON_DISK = [Published(v, 2.0) for v in range(3)]


def watching(length, requests=100, now=NOW, pace=None):
    """60 windows up to ``now``, in which accept length is around ``length``."""
    windows = [Window(now.timestamp() - 60 * i, math.log(length * (1 + 0.05 * (-1) ** i))) for i in range(60)]
    return Watch(units(length), requests, tuple(reversed(windows)), pace)


def target_only(now):
    """Traffic without speculation."""
    return Watch(Sums(), 100, (Window(now.timestamp(), 0.0),))


def later(seconds):
    return NOW + timedelta(seconds=seconds)


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


def test_day_zero_is_not_tried_again_before_there_is_a_draft():
    stable = Stable(version=0, steps=0, since=NOW)
    assert analyse(Status(stable=stable), watch=target_only(later(9999)), now=later(9999)).candidate is None


def test_a_breached_guard_undoes_a_promotion_while_it_is_on_probation():
    breach = (GuardResult("errors", breached=True, message="0.5 is above 0.1"),)
    at = analyse(Status(stable=HELD, decided=2), guards=breach, now=later(60))
    assert (at.stable.version, at.history[0].verdict) == (1, "RolledBack")
    assert "errors" in at.history[0].reason
    assert analyse(Status(stable=HELD, decided=2), guards=breach, now=later(1000)).stable.version == HELD.version


GUARDED = {"prometheus": {"url": "http://p"}, "guards": [{"name": "errors", "query": "q", "max": 1}]}


def test_a_breach_counts_once_it_lasted_for_three_analyses_and_holds_a_promotion_back_until_then():
    breach = (GuardResult("errors", breached=True, message="5 is above 1"),)
    status, reasons = on_trial(), []
    for results in (breach, breach, (), breach, breach, breach):
        found = results or (GuardResult("errors", breached=False, message="fine"),)
        seen = Seen(NOW, {}, (), PODS, Found(evidence=evidence(2.0), guards=found))
        at = advance(a_spec(promotion=GUARDED), status, seen)
        reasons.append(at.reason)
        status = after(at)
    assert reasons[:5] == ["GuardSuspected"] * 2 + ["Undecided"] + ["GuardSuspected"] * 2
    assert (at.history[0].verdict, at.history[0].reason.split(":")[0]) == ("Rejected", "GuardBreached")
    better = Seen(NOW, {}, (), PODS, Found(evidence=evidence(2.5), guards=breach))
    held = advance(a_spec(promotion=GUARDED), on_trial(), better)
    assert (held.reason, held.stable.version) == ("GuardSuspected", STABLE.version)


def test_a_first_suspicion_moves_traffic_back_and_cuts_the_block_it_came_in():
    spec, pods = a_spec(promotion=GUARDED), [Pod("a", "x"), Pod("b", "y")]
    breach = (GuardResult("errors", breached=True, message="5 is above 1"),)
    fine = (GuardResult("errors", breached=False, message="fine"),)
    status, seen = on_trial(), []

    def at(seconds, results):
        found = Found(evidence=evidence(2.0), guards=results)
        return advance(spec, status, Seen(later(seconds), {}, (), PODS, found)).candidate

    # Blocks of 120 s: breached in block 2 and once more in block 3, while stable serves alone; fine from then on.
    for seconds, results in ((250, breach), (370, breach), (380, fine), (490, fine), (610, fine)):
        candidate = at(seconds, results)
        status = Status(stable=STABLE, candidate=candidate, decided=4)
        # Both slices of the block: in one of them some pod would serve the candidate.
        slices = (later(seconds // 120 * 120 + second) for second in (30, 90))
        serving = {
            pair for moment in slices for pair in assignments(spec, STABLE, candidate, "u", pods, moment).values()
        }
        seen.append((candidate.cut, (TRIAL.version, TRIAL.steps) in serving))
    assert seen == [([2], False)] * 4 + [([2], True)]


def test_a_trial_that_is_suspected_in_twenty_blocks_is_over():
    breach = (GuardResult("errors", breached=True, message="5 is above 1"),)
    worn = TRIAL.model_copy(update={"cut": list(range(19)), "resumes": 19})
    seen = Seen(later(5000), {}, (), PODS, Found(evidence=evidence(2.0), guards=breach))
    at = advance(a_spec(promotion=GUARDED), Status(stable=STABLE, candidate=worn, decided=4), seen)
    assert (at.history[0].verdict, at.history[0].reason.split(":")[0]) == ("Rejected", "GuardBreached")


def test_a_guard_in_a_dry_run_only_reports():
    guards = [GUARDED["guards"][0] | {"dryRun": True}]
    breach = (GuardResult("errors", breached=True, message="5 is above 1"),)
    status = Status(stable=STABLE, candidate=TRIAL.model_copy(update={"breaches": {"errors": 9}}), decided=4)
    at = advance(
        a_spec(promotion=GUARDED | {"guards": guards}),
        status,
        Seen(NOW, {}, (), PODS, Found(evidence=evidence(2.0), guards=breach)),
    )
    assert (at.reason, at.candidate.breaches) == ("Undecided", {"errors": 10})


def test_on_probation_a_guard_compares_with_what_stable_had_before():
    fine = (GuardResult("errors", breached=False, message="fine", reference=0.2),)
    won = advance(a_spec(), on_trial(), Seen(NOW, {}, (), PODS, Found(evidence=evidence(2.5), guards=fine)))
    assert won.stable.guard_references == {"errors": 0.2}


def test_a_stable_version_that_no_engine_takes_goes_back_and_one_that_some_take_stays():
    refusing = Pod("a", "x", 1, 3, 1.0, failed={2: "version 2 is corrupt"})
    at = analyse(Status(stable=HELD, decided=2), pods=(refusing,))
    assert (at.stable.version, at.history[0].verdict) == (1, "RolledBack")
    assert analyse(Status(stable=HELD, decided=2), pods=(refusing, Pod("b", "y", 2, 3, 1.0))).stable == HELD


def test_a_pause_ends_the_trial_without_a_verdict_and_it_begins_again_afterwards():
    at = analyse(on_trial(), {PAUSE: "true"}, found=evidence(2.5), versions=[Published(5, 2.0)])
    assert (at.candidate, at.stable, at.decided, at.reason) == (None, STABLE, 4, "Paused")
    assert analyse(after(at), {PAUSE: "true"}, versions=[Published(5, 2.0)]).history == at.history
    assert analyse(after(at), versions=[Published(5, 2.0)]).candidate.version == 5


def test_a_trial_keeps_the_slices_that_it_began_with():
    pace = Pace("AcceptLength", 0.5, 120.0, 1.0)
    longer = {4: Pace("AcceptLength", 0.05, 480.0, 1.0)}
    watch = Watch(units(2.0), 100, (Window(NOW.timestamp(), math.log(2.0)),), pace, longer)
    at = analyse(Status(stable=STABLE, decided=2), versions=[Published(5, 2.0)], watch=watch)
    assert at.candidate.slice_seconds == 240
    pods, shorter = [Pod("a", "x")], a_spec(promotion={"prometheus": {"url": "http://p"}, "gate": {"sliceSeconds": 5}})
    serving = [assignments(shorter, STABLE, at.candidate, "u", pods, later(s))["a"] for s in range(0, 960, 60)]
    assert [serving[i] for i in (0, 4, 8, 12)] * 4 == [serving[i + k] for k in range(4) for i in (0, 4, 8, 12)]


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
