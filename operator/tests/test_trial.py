"""Candidates: one at a time, each decided once, none without proof; what a pod serves follows from the clock alone."""

import math
from datetime import timedelta

import pytest
from aurora_operator.api.status import Status
from aurora_operator.promotion.assignment import assignments
from aurora_operator.promotion.forecast import Pace
from aurora_operator.promotion.gate import Evidence, GuardResult
from aurora_operator.promotion.manual import PAUSE, REJECT
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.promotion.trial import Found, Seen, advance, first_stable
from aurora_operator.promotion.watch import Watch, Window
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_spec
from trial_support import HELD, PODS, STABLE, TRIAL, after, analyse, evidence, later, on_trial, units


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


def test_a_trial_that_began_in_the_future_begins_again_and_not_only_then():
    def begun(since):
        status = Status(stable=STABLE, candidate=TRIAL.model_copy(update={"since": since}), decided=4)
        return analyse(status, versions=[Published(5, 2.0)])

    at = begun(later(1e9))
    assert (at.candidate.version, at.candidate.since, at.decided) == (5, NOW, 4)
    assert begun(later(300)).candidate.since == later(300)


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


def test_a_breached_guard_undoes_a_promotion_while_it_is_on_probation():
    breach = (GuardResult("errors", breached=True, message="0.5 is above 0.1"),)
    at = analyse(Status(stable=HELD, decided=2), guards=breach, now=later(60))
    assert (at.stable.version, at.history[0].verdict) == (1, "RolledBack")
    assert "errors" in at.history[0].reason
    assert analyse(Status(stable=HELD, decided=2), guards=breach, now=later(1000)).stable.version == HELD.version


GUARDED = {"prometheus": {"url": "http://p"}, "guards": [{"name": "errors", "query": "q", "max": 1}]}


def test_a_breach_counts_once_it_lasted_for_three_analyses_and_keeps_a_promotion_back_until_then():
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
