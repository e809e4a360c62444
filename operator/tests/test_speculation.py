"""A person's switch of speculation: it applies to every engine until it is taken back, and shows."""

import pytest
from aurora_operator import metrics
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.promotion.manual import SPECULATION
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile.plan import plan
from operator_support import NOW, a_snapshot, a_spec
from prometheus_client import REGISTRY

OFF = {SPECULATION: "off"}
STABLE = Stable(version=4, steps=3, since=NOW)
DRAFTING = (Pod("a", "x", 4, 3, 1.0), Pod("b", "x", 4, 0, 1.0))
STILL = (Pod("a", "x", 4, 0, 1.0), Pod("b", "x", 4, 0, 1.0))


def planned(pods, annotations=None, status=None, **more):
    return plan(
        a_snapshot(status=status or Status(stable=STABLE, decided=4), annotations=annotations, pods=pods, **more)
    )


def condition(todo):
    found = next(c for c in todo.status["conditions"] if c["type"] == "Speculating")
    return found["status"], found["reason"]


def desired(todo):
    return next(body["data"] for body in todo.apply if body["metadata"]["name"] == "chat-desired")


def test_all_engines_stop_drafting_those_that_start_too_and_stable_stays_what_it_is():
    todo = planned(DRAFTING, OFF)
    assert [(load.pod.name, load.version, load.steps) for load in todo.loads] == [("a", 4, 0)]
    assert (desired(todo)["version"], desired(todo)["steps"]) == ("4", "0")
    assert (todo.status["stable"]["version"], todo.status["stable"]["steps"]) == (4, 3)
    assert condition(todo) == ("True", "SwitchingOff")
    assert [note.reason for note in todo.notes] == ["SpeculationSwitchedOff"]


def test_off_is_off_once_no_engine_drafts_and_says_so_once():
    first = planned(DRAFTING, OFF)
    then = planned(STILL, OFF, status=Status.model_validate(first.status))
    assert (then.loads, then.notes) == ((), ())
    assert condition(then) == ("False", "SwitchedOff")
    metrics.show("ns/off", a_spec(), Status.model_validate(then.status))
    assert REGISTRY.get_sample_value("aurora_speculation_switched_off", {"speculator": "ns/off"}) == 1


def test_a_trial_ends_and_no_canary_drafts():
    candidate = Candidate(version=5, steps=3, since=NOW)
    todo = planned(DRAFTING, OFF, status=Status(stable=STABLE, candidate=candidate, decided=4))
    assert {load.steps for load in todo.loads} == {0}
    assert todo.status["candidate"] is None


def test_on_restores_what_stable_drafts():
    off = Status.model_validate(planned(STILL, OFF).status)
    todo = planned(STILL, status=off)
    assert [(load.pod.name, load.steps) for load in todo.loads] == [("a", 3), ("b", 3)]
    assert condition(todo) == ("False", "SwitchingOn")
    assert [note.reason for note in todo.notes] == ["SpeculationSwitchedOn"]
    assert condition(planned((Pod("a", "x", 4, 3, 1.0),), status=off)) == ("True", "Drafting")


def test_suspend_does_not_keep_it_on():
    assert [load.steps for load in planned(DRAFTING, OFF, spec=a_spec(suspend=True)).loads] == [0, 0]


def test_a_token_tree_cannot_be_switched_off_and_says_so():
    spec = a_spec(mode="ExternalWithDraft", draft={"topK": 2, "checkpoint": "org/draft"})
    todo = planned((Pod("a", "x", 4, 3, 1.0),), OFF, spec=spec)
    assert todo.loads == ()
    assert condition(todo) == ("True", "CannotSwitchOff")


@pytest.mark.parametrize(("version", "reason"), [(0, "NoDraftYet"), (4, "TargetOnly")])
def test_without_draft_steps_it_says_why(version, reason):
    stable = Stable(version=version, steps=0, since=NOW)
    assert condition(planned((Pod("a", "x", version, 0, 1.0),), status=Status(stable=stable))) == ("False", reason)
