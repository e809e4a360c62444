"""Annotations by which nothing happens: each is named, and what was meant for a version that was tried is none."""

import pytest
from aurora_operator.api.status import Condition, Stable, Status
from aurora_operator.promotion.manual import PAUSE, PROMOTE, REJECT, ROLL_BACK, SPECULATION
from aurora_operator.promotion.progress import Published
from aurora_operator.reconcile import reported
from aurora_operator.reconcile.plan import plan
from operator_support import NOW, a_snapshot
from trial_support import STABLE, after, analyse, evidence, on_trial

VERSIONS = [Published(v, 2.0) for v in range(6)]


def analysed(annotations, status=None, versions=VERSIONS):
    return analyse(status or on_trial(), annotations, found=evidence(1.0), versions=versions)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (PROMOTE, "abc", "is not the number of a version"),
        (PROMOTE, "", "is not the number of a version"),
        (PROMOTE, "\u0665", "is not the number of a version"),
        (PROMOTE, "7", "names a version that does not exist"),
        (REJECT, "5 ", "is not the number of a version"),
        (REJECT, "-5", "is not the number of a version"),
        (ROLL_BACK, "v2", "is not the number of a version"),
        (ROLL_BACK, "99:1", "names a version that does not exist"),
        (ROLL_BACK, "2:", "names no version after the colon"),
        (ROLL_BACK, "2:2", "names one version twice"),
        (ROLL_BACK, "2:1:0", "names no version after the colon"),
        (PAUSE, "no", "is neither true nor false, and pauses promotion"),
        (SPECULATION, "Off", "is neither off nor on, and changes nothing"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(name, value, text):
    at = analysed({name: value})
    assert f"annotation {name}={value!r} {text}" in at.unheeded
    assert at.message.startswith(at.unheeded)
    assert at.stable.version == 2


def test_a_name_that_is_misspelt_is_named_with_those_that_exist():
    at = analysed({"aurora-operator.io/rolback": "2", "argocd.argoproj.io/tracking-id": "x"})
    assert at.unheeded.startswith("annotation aurora-operator.io/rolback is not known: promote, reject, rollback, ")
    assert "argocd" not in at.unheeded


@pytest.mark.parametrize(
    "annotations",
    [
        {PROMOTE: "4"}, {REJECT: "3"}, {ROLL_BACK: "1"}, {ROLL_BACK: "4:0"}, {PAUSE: "true"}, {PAUSE: ""},
        {PAUSE: "false"}, {SPECULATION: "off"}, {SPECULATION: "on"},
        {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    ],
)  # fmt: skip
def test_what_was_carried_out_or_came_too_late_is_not(annotations):
    assert analysed(annotations).unheeded == ""


def test_false_does_not_pause():
    assert analysed({PAUSE: "false"}).reason != "Paused"
    assert analysed({PAUSE: "no"}).reason == "Paused"


def test_a_rollback_without_a_version_before_asks_for_one():
    status = Status(stable=Stable(version=2, steps=3, since=NOW), decided=4)
    assert (
        "needs a target, because the version before 2 is not known: as 2:0"
        in analysed({ROLL_BACK: "2"}, status).unheeded
    )


def test_no_rollback_goes_to_a_version_that_comes_later():
    """Given a version that is missing, when training publishes one of that number, then stable stays what it is."""
    early = analysed({ROLL_BACK: "2:6"})
    assert early.unheeded.startswith("no rollback to version 6: the volume does not have it")
    later = analysed({ROLL_BACK: "2:6"}, after(early), [*VERSIONS, Published(6, 2.0)])
    assert later.stable.version == 2
    assert later.unheeded.startswith("no rollback to version 6: it had no verdict yet")


def test_while_the_volume_is_not_known_no_version_is_called_missing():
    assert analysed({PROMOTE: "7"}, versions=None).unheeded == ""


def test_many_are_counted():
    assert " and 3 more: correct or remove it" in analysed({f"aurora-operator.io/x{i}": "" for i in range(5)}).unheeded


def test_it_degrades_and_is_an_event_of_its_reconcile():
    todo = plan(a_snapshot(annotations={SPECULATION: "OFF"}, status=Status(stable=STABLE)))
    found = {one["type"]: one for one in todo.status["conditions"]}
    assert found["Degraded"]["reason"] == found["Ready"]["reason"] == "AnnotationIgnored"
    assert "annotation aurora-operator.io/speculation='OFF' is neither off nor on" in found["Degraded"]["message"]
    assert [one.reason for one in todo.notes] == ["AnnotationIgnored"]


def test_it_is_an_event_once_and_a_condition_until_it_is_gone():
    at = analysed({PROMOTE: "abc" * 300})
    first = reported.notes(Status(), at)
    assert [(one.kind, one.reason, one.message) for one in first] == [("Warning", "AnnotationIgnored", at.unheeded)]
    shown = Condition(
        type="PromotionProgressing", status="True", reason="x", message=at.message[:800], last_transition_time=NOW
    )
    assert reported.notes(Status(conditions=[shown]), at) == ()
