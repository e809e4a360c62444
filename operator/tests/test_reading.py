"""What a newer operator or CRD wrote is read as far as it can be, and what was left out is named."""

import copy
import random

import pytest
from aurora_operator.api.reading import read
from aurora_operator.api.spec import Spec
from aurora_operator.errors import SpecError
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Snapshot
from hostile import deep
from hostile_rounds import AT, IMAGES, NOW, SPEC, STATUS, body, round_of
from hypothesis import example, given, settings
from hypothesis import strategies as st


def having(value, path, new):
    """A copy with the field at a path set."""
    out = copy.deepcopy(value)
    *way, last = path
    at = out
    for step in way:
        at = at[step]
    at[last] = new
    return out


NEWER_FIELDS = [
    ("maxSurge",),
    ("serving", "maxSurge"),
    ("promotion", "gate", "method"),
    ("training", "hyperparameters", "optimizer"),
    ("serving", "podTemplate", "spec", "newInKubernetes140"),
    ("serving", "podTemplate", "spec", "containers", 0, "newInKubernetes140"),
]


@pytest.mark.parametrize("path", NEWER_FIELDS)
@pytest.mark.parametrize("value", [None, 3, {"a": [1]}, deep()])
def test_a_field_of_a_newer_resource_is_left_out_and_named(path, value):
    found = read(body(having(SPEC, path, value)))
    assert found.spec == Spec.model_validate(SPEC)
    assert found.ignored == ("spec." + ".".join(map(str, path)).replace(".0.", "[0]."),)


def test_a_field_that_was_left_out_shows_in_a_condition_and_the_resource_is_reconciled():
    resource = body(having(SPEC, ("serving", "max\x1b[2JSurge"), 3), STATUS)
    found = read(resource)
    credentials = {"admin": "1", "agent": "2", "samples": "3"}
    made = plan(
        Snapshot(resource, found.spec, found.status, NOW, IMAGES, new_credentials=credentials, ignored=found.ignored)
    )
    degraded = next(one for one in made.status["conditions"] if one["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "FieldsIgnored")
    assert r"spec.serving.max\x1b[2JSurge" in degraded["message"]
    assert "upgrade the operator" in degraded["message"]
    assert "ConfigMap" in {one["kind"] for one in made.apply}


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        (("candidate", "kind"), "Bandit", {"candidate": None}),
        (("candidate", "metric"), "Joules", {"candidate": None}),
        (("candidate", "version"), "four", {"candidate": None}),
        (("stable", "acceptLength"), "two", {}),
        (("training", "loss"), "low", {}),
        (("conditions", 0, "status"), "Maybe", {"conditions": []}),
        (("conditions",), None, {"conditions": []}),
        (("conditions",), [None], {"conditions": []}),
    ],
)
def test_a_piece_of_a_status_that_cannot_be_read_costs_that_piece_alone(path, value, kept):
    found = read(body(SPEC, having(STATUS, path, value)))
    assert (found.status.stable.version, found.status.decided) == (3, 3)
    assert len(found.status.history) == 2
    for name, expected in kept.items():
        assert getattr(found.status, name) == expected


def test_a_longer_history_is_cut():
    entries = [{"time": AT, "version": n, "verdict": "Promoted", "reason": "x" * 5000} for n in range(30)]
    history = read(body(SPEC, having(STATUS, ("history",), entries))).status.history
    assert [entry.version for entry in history] == list(range(10))
    assert {len(entry.reason) for entry in history} == {800}


def test_an_entry_of_an_unknown_form_leaves_the_others():
    history = [*STATUS["history"], {"time": "yesterday", "version": 2}]
    assert len(read(body(SPEC, having(STATUS, ("history",), history))).status.history) == 2


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("stable",), 3),
        (("stable", "version"), "3.1"),
        (("stable", "since"), "noon"),
        (("decided",), "all"),
        (("decided",), -1),
    ],
)
def test_what_serves_is_never_guessed(path, value):
    with pytest.raises(SpecError, match=r"status\."):
        read(body(SPEC, having(STATUS, path, value)))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("serving", "podTemplate", "metadata"), "x", "spec.serving.podTemplate.metadata: must be object"),
        (("serving", "podTemplate", "spec", "containers"), [{"image": "x"}], "containers[0].name: is missing"),
        (("serving", "podTemplate", "spec", "containers", 0, "ports"), [{}], "ports[0].containerPort: is missing"),
        (("serving", "podTemplate", "spec", "containers"), [None], "containers[0]: must not be null"),
        (("serving", "podTemplate", "spec", "volumes"), [{"emptyDir": {}}], "volumes[0].name: is missing"),
        (("serving", "replicas"), "many", "spec.serving.replicas: must be integer"),
        (("promotion", "strategy"), "Bandit", "spec.promotion.strategy"),
    ],
)
def test_what_cannot_be_worked_with_is_named(path, value, named):
    with pytest.raises(SpecError) as raised:
        read(body(having(SPEC, path, value)))
    assert named in str(raised.value)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
@example(449533)
def test_nothing_that_is_stored_or_answered_ends_a_reconcile(seed):
    round_of(random.Random(seed))


def test_the_rounds_are_hostile_and_get_somewhere():
    made = [round_of(random.Random(seed)) for seed in range(60)]
    assert 10 < sum(one is not None for one in made) < 50
