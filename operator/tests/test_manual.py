"""What a person decides: by annotation about one version, and with strategy Manual about all."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from aurora_operator.api.status import Status
from aurora_operator.promotion.assignment import assignments, dealing
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.manual import PROMOTE, REJECT, ROLL_BACK, SPECULATION
from aurora_operator.promotion.progress import Published
from operator_support import NOW, a_spec
from trial_support import PODS, STABLE, TRIAL, after, analyse, evidence, on_trial


@pytest.mark.parametrize(
    ("annotation", "version", "stable", "verdict"),
    [(PROMOTE, "5", 5, "Promoted"), (REJECT, "5", 2, "Rejected"), (ROLL_BACK, "2", 1, "RolledBack")],
)
def test_a_person_decides_about_the_version_that_was_meant(annotation, version, stable, verdict):
    at = analyse(on_trial(), {annotation: version}, found=evidence(2.0))
    assert (at.stable.version, at.history[0].verdict) == (stable, verdict)
    other = analyse(on_trial(), {annotation: "4"}, found=evidence(2.0))
    assert (other.stable.version, other.history) == (2, ())


def test_rolling_back_acts_once():
    at = analyse(on_trial(), {ROLL_BACK: "2"})
    again = analyse(Status(stable=at.stable, decided=at.decided), {ROLL_BACK: "2"})
    assert again.stable == at.stable


@pytest.mark.parametrize(
    ("to", "version", "steps"), [("1", 1, 3), ("0", 0, 0), ("4", 4, 3), ("2", 2, 3), ("9", 2, 3), ("x", 2, 3)]
)
def test_a_person_rolls_back_to_any_version_that_the_volume_has_and_no_other(to, version, steps):
    versions = [Published(v, 2.0, f"digest-{v}") for v in (0, 1, 2, 4)]
    at = analyse(on_trial(), {ROLL_BACK: f"2:{to}"}, found=evidence(2.0), versions=versions)
    assert (at.stable.version, at.stable.steps) == (version, steps)
    if version != 2:
        assert (at.candidate, at.history[0].verdict, at.stable.previous) == (None, "RolledBack", None)
        again = analyse(after(at), {ROLL_BACK: f"2:{to}"}, versions=versions)
        assert again.stable == at.stable.model_copy(update={"digest": f"digest-{version}"})
    else:
        assert (at.history, at.candidate.version) == ((), 5)
        assert at.message.startswith(f"no rollback to version {to}: the volume does not have it; ") == (to != "2")


def test_a_rollback_by_two_steps_keeps_what_was_above_from_being_tried_again():
    versions = [Published(v, 2.0) for v in (0, 1, 2)]
    at = analyse(on_trial(), {ROLL_BACK: "2:0"}, versions=versions)
    assert at.decided == 4
    assert analyse(after(at), {ROLL_BACK: "2:0"}, versions=versions).candidate is None


def test_while_speculation_is_switched_off_there_is_no_trial_and_none_begins():
    annotations = {SPECULATION: "off"}
    at = analyse(on_trial(), annotations, found=evidence(2.5), versions=[Published(5, 2.0)])
    assert (at.candidate, at.stable, at.reason) == (None, STABLE, "SpeculationSwitchedOff")
    assert analyse(after(at), annotations, versions=[Published(5, 2.0)]).candidate is None
    assert analyse(after(at), versions=[Published(5, 2.0)]).candidate.version == 5
    tree = {"draft": {"topK": 2, "checkpoint": "org/draft"}, "mode": "ExternalWithDraft"}
    assert analyse(on_trial(), annotations, found=evidence(2.5), **tree).history[0].verdict == "Promoted"


def test_manual_waits_for_a_person_and_immediate_for_nobody():
    promotion = {"strategy": "Manual"}
    assert analyse(on_trial(), promotion=promotion).reason == "WaitingForApproval"
    assert analyse(on_trial(), promotion={"strategy": "Immediate"}).stable.version == 5


MANUAL = {"strategy": "Manual", "prometheus": {"url": "http://p"}}


@pytest.mark.parametrize(("ratio", "verdict"), [(2.5, "ProvedBetter"), (1.5, "NotBetter"), (2.02, "Undecided")])
def test_manual_measures_as_auto_does_and_only_a_person_decides(ratio, verdict):
    at = analyse(on_trial(), found=evidence(ratio), promotion=MANUAL)
    assert (at.stable, at.candidate.verdict, at.reason, at.history) == (STABLE, verdict, "WaitingForApproval", ())
    assert verdict in at.message
    assert f"{at.candidate.estimate:.3f} times stable" in at.message
    over = after(at)
    for later in (NOW + timedelta(days=2), NOW + timedelta(days=9)):
        again = analyse(over, found=evidence(ratio), promotion=MANUAL, now=later)
        assert (again.candidate, again.message) == (at.candidate, at.message)
    decided = analyse(over, {PROMOTE: "5"}, found=evidence(ratio), promotion=MANUAL)
    assert (decided.stable.version, decided.history[0].reason) == (5, "manually")


def test_manual_deals_arms_until_all_is_measured_and_then_stable_serves_alone():
    spec = a_spec(promotion=MANUAL)
    slices = [NOW + timedelta(seconds=60 * i + 1) for i in range(20)]

    def served(candidate, times):
        return {assignments(spec, STABLE, candidate, "u", PODS, now)["a"] for now in times}

    assert served(TRIAL, slices) == {(2, 3), (5, 3)}
    assert served(TRIAL.model_copy(update={"verdict": "NotBetter"}), slices) == {(2, 3)}
    assert served(TRIAL, [now + timedelta(days=1) for now in slices]) == {(2, 3)}
    assert dealing(a_spec(promotion={"strategy": "Manual"})) is None
    assert dealing(a_spec(promotion=MANUAL, serving={"replicas": 2})) == "Canary"


def test_manual_ends_a_trial_that_harms_and_shows_one_that_is_blind():
    slower = Trial(tuple(Block(math.log(0.5), 1000.0) for _ in range(60)))
    harmful = replace(evidence(2.5), speed=slower)
    at = analyse(on_trial(), found=harmful, promotion=MANUAL)
    assert (at.history[0].verdict, at.history[0].reason.partition(":")[0]) == ("Rejected", "ProvedSlower")
    assert analyse(on_trial(), found=Evidence(problem="down"), promotion=MANUAL).reason == "NoData"
