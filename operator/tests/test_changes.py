"""What a person asks for either has an effect that can be seen, or is refused with the reason."""

from datetime import timedelta

import pytest
from aurora_operator.api.status import Candidate, Condition, Entry, Serving, Stable, Status
from aurora_operator.cli import changes
from aurora_operator.cli.changes import Nothing, Request
from aurora_operator.promotion.manual import PAUSE, SPECULATION
from operator_support import NOW, a_spec

STABLE = Stable(version=4, steps=3, since=NOW, previous=2, previous_steps=3)
OLD = Entry(time=NOW, version=4, verdict="Promoted", reason="proved")


def state(kind="NewVersion", **more):
    fields = {
        "stable": STABLE,
        "decided": 4,
        "history": [OLD],
        "serving": Serving(replicas=2, ready=2, versions=[4, 5]),
    }
    if kind is not None:
        fields["candidate"] = Candidate(version=5, steps=3, since=NOW, kind=kind)
    return Status(**(fields | more))


def decided(verdict, version=5, **more):
    entry = Entry(time=NOW + timedelta(seconds=9), version=version, verdict=verdict, reason="why")
    return state(None, history=[entry, OLD], **more)


def having(kind, reason, message="", status="False", **more):
    one = Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=NOW)
    return state(None, conditions=[one], **more)


@pytest.mark.parametrize("kind", ["TargetOnly", "Again", "Previous", "Best"])
def test_a_challenge_cannot_be_promoted_and_it_says_what_can_be_done(kind):
    found = changes.promote(a_spec(), {}, state(kind))
    assert isinstance(found, Nothing)
    assert not found.already
    assert "aurora " in found.why


@pytest.mark.parametrize(
    ("spec", "annotations", "part"),
    [
        (a_spec(suspend=True), {}, "spec.suspend"),
        (a_spec(), {PAUSE: "true"}, "paused"),
        (a_spec(), {SPECULATION: "off"}, "switched off"),
    ],
)
@pytest.mark.parametrize("ask", [changes.promote, changes.reject])
def test_while_nothing_is_decided_nothing_is_asked_for(ask, spec, annotations, part):
    found = ask(spec, annotations, state())
    assert isinstance(found, Nothing)
    assert part in found.why


@pytest.mark.parametrize("ask", [changes.promote, changes.reject])
def test_without_a_candidate_there_is_nothing_to_decide(ask):
    assert isinstance(ask(a_spec(), {}, state(None)), Nothing)


def test_a_promotion_is_done_once_every_engine_serves_it():
    asked = changes.promote(a_spec(), {}, state())
    assert isinstance(asked, Request)
    assert asked.annotation == "aurora-operator.io/promote=5"
    assert not asked.seen(state()).done
    stable = STABLE.model_copy(update={"version": 5})
    partly = asked.seen(decided("Promoted", stable=stable))
    assert (partly.done, partly.message) == (False, "version 5 is stable; engines serve version 4, 5")
    done = asked.seen(decided("Promoted", stable=stable, serving=Serving(versions=[5])))
    assert (done.done, done.fulfilled) == (True, True)
    following = Candidate(version=7, steps=3, since=NOW)
    busy = decided("Promoted", stable=stable, serving=Serving(versions=[5, 7]), candidate=following)
    assert asked.seen(busy).done


def test_a_promotion_that_ended_otherwise_is_not_called_one():
    asked = changes.promote(a_spec(), {}, state())
    for verdict in ("Rejected", "Superseded"):
        outcome = asked.seen(decided(verdict))
        assert (outcome.done, outcome.fulfilled) == (True, False)
        assert verdict in outcome.message


def test_a_rejection_names_the_verdict():
    asked = changes.reject(a_spec(), {}, state("TargetOnly"))
    outcome = asked.seen(decided("SpeculationKept"))
    assert (outcome.done, outcome.fulfilled) == (True, True)
    late = asked.seen(decided("SpeculationOff"))
    assert (late.done, late.fulfilled) == (True, False)


@pytest.mark.parametrize(
    ("to", "annotation", "target"),
    [(None, "aurora-operator.io/rollback=4", 2), (1, "aurora-operator.io/rollback=4:1", 1)],
)
def test_a_rollback_is_done_once_every_engine_serves_that_version(to, annotation, target):
    asked = changes.rollback(to, state())
    assert asked.annotation == annotation
    stable = STABLE.model_copy(update={"version": target, "previous": None})
    assert not asked.seen(decided("RolledBack", 4, stable=stable)).done
    assert asked.seen(decided("RolledBack", 4, stable=stable, serving=Serving(versions=[target]))).done


def test_a_rollback_to_a_version_that_is_not_there_failed():
    asked = changes.rollback(3, state())
    text = "no rollback to version 3: the volume does not have it; nothing to decide"
    outcome = asked.seen(having("PromotionProgressing", "NoCandidate", text))
    assert (outcome.done, outcome.fulfilled) == (True, False)
    assert outcome.message == "no rollback to version 3: the volume does not have it"


def test_a_rollback_that_needs_none_or_cannot_be_says_so():
    assert changes.rollback(4, state()).already
    lost = state(stable=STABLE.model_copy(update={"previous": None}))
    assert "--to" in changes.rollback(None, lost).why


@pytest.mark.parametrize("to", [-1, 9])
def test_a_rollback_to_what_was_never_tried_is_refused_instead_of_waiting_for_it(to):
    asked = changes.rollback(to, state())
    assert (asked.already, asked.why.startswith(f"no rollback to version {to}: it was never tried")) == (False, True)


def test_false_does_not_pause_and_any_other_value_does():
    assert changes.pause({PAUSE: "false"}).annotation == f"{PAUSE}=true"
    assert changes.resume({PAUSE: "false"}).already
    assert changes.pause({PAUSE: "yes"}).already


def test_pause_and_resume_wait_for_the_condition():
    paused = having("PromotionProgressing", "Paused")
    asked = changes.pause({})
    assert not asked.seen(state()).done
    assert asked.seen(paused).done
    assert changes.pause({PAUSE: "true"}).already
    again = changes.resume({PAUSE: "true"})
    assert not again.seen(paused).done
    assert again.seen(having("PromotionProgressing", "NoCandidate")).done
    assert changes.resume({}).already


def test_speculation_off_waits_for_every_engine_and_on_for_the_first():
    off = changes.speculation("off", a_spec(), {})
    assert off.annotation == "aurora-operator.io/speculation=off"
    assert off.seen(having("Speculating", "SwitchingOff", "1 of 2 engines still draft", "True")).message == (
        "1 of 2 engines still draft"
    )
    assert off.seen(having("Speculating", "SwitchedOff")).done
    on = changes.speculation("on", a_spec(), {SPECULATION: "off"})
    assert on.annotation == "aurora-operator.io/speculation-"
    assert not on.seen(having("Speculating", "SwitchedOff")).done
    assert not on.seen(having("Speculating", "SwitchingOn")).done
    assert on.seen(having("Speculating", "Drafting", "stable drafts 3 tokens per verify cycle", "True")).done


def test_speculation_that_is_so_already_or_cannot_be_says_so():
    assert changes.speculation("off", a_spec(), {SPECULATION: "off"}).already
    assert changes.speculation("on", a_spec(), {}).already
    tree = a_spec(mode="ExternalWithDraft", draft={"topK": 2, "checkpoint": "org/draft"})
    found = changes.speculation("off", tree, {})
    assert "draft.topK" in found.why
    assert not found.already
