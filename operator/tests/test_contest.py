"""Who undoes what the operator applies is noticed after a few rounds, named, and not fought."""

from datetime import timedelta

import pytest
from aurora_operator.reconcile import contest
from aurora_operator.reconcile.drift import holders, lacking, readable, rendered
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Applied, key
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_snapshot, fields_of, reported, settled, taken_over

HASHES = ("a", "")
REPLICAS = ("f:spec", "f:replicas")
SECOND = timedelta(seconds=1)


def fought(rounds, *, by="hpa sets spec.replicas", every=2 * SECOND):
    """What is remembered after an opponent undid it so often, at once each time; and when that was."""
    applied, now = contest.again(None, HASHES, "", NOW), NOW
    for _ in range(rounds):
        now = max(now + every, applied.at + contest.wait(applied))
        applied = contest.again(applied, HASHES, by, now)
    return applied, now


def test_a_change_or_two_are_put_back_at_once_and_a_fight_waits_longer_each_time():
    waits = [contest.wait(fought(rounds)[0]).total_seconds() for rounds in range(11)]
    assert waits == [0, 0, 0, 60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_who_changes_something_now_and_then_is_no_opponent():
    assert fought(20, every=timedelta(minutes=11))[0].rounds == 0


def test_what_was_not_there_or_is_rendered_otherwise_begins_again():
    applied, now = fought(5)
    assert contest.again(applied, HASHES, "", now).rounds == 0
    assert contest.again(applied, ("b", ""), "hpa", now).rounds == 0
    assert contest.held(applied, HASHES, now)
    assert not contest.held(applied, ("b", ""), now)


def test_a_fight_shows_through_each_try_and_ends_when_nobody_undoes_one():
    at = ("apps/v1", "Deployment", "chat-engine")
    applied, now = fought(4)
    pause = contest.wait(applied)
    assert contest.contested({at: applied}, now + pause + SECOND) == {at: "hpa sets spec.replicas"}
    assert contest.contested({at: applied}, now + pause + timedelta(minutes=3)) == {}


@given(st.lists(st.integers(1, 5000), max_size=40))
def test_writes_against_an_opponent_are_few_however_it_times_them(gaps):
    applied, now, writes = contest.again(None, HASHES, "", NOW), NOW, []
    for gap in gaps:
        now += gap * SECOND
        if not contest.held(applied, HASHES, now):
            applied = contest.again(applied, HASHES, "hpa", now)
            writes.append(now)
    for first in writes:
        assert sum(first <= one < first + timedelta(minutes=1) for one in writes) <= contest.ROUNDS + 1


def test_the_condition_names_manager_and_field_and_nothing_is_applied_meanwhile():
    snapshot, children = settled()
    children = [
        taken_over(c, REPLICAS, "kube-controller-manager") if c["kind"] == "Deployment" else c for c in children
    ]
    todo = plan(a_snapshot(pods=snapshot.pods, children=children))
    (engine,) = todo.apply
    applied = Applied(rendered(engine), NOW, contest.ROUNDS, todo.undone[key(engine)])
    held = {"pods": snapshot.pods, "children": children, "applied": {key(engine): applied}, "now": NOW + 5 * SECOND}
    assert plan(a_snapshot(**held)).apply == ()
    reason, message = reported("Degraded", **held)
    assert reason == "FieldContested"
    assert message.startswith("Deployment ns/chat-engine: kube-controller-manager sets spec.replicas, again and again")
    later = held | {"now": NOW + timedelta(minutes=2)}
    assert [key(body) for body in plan(a_snapshot(**later)).apply] == [key(engine)]


def test_items_of_lists_are_found_by_whatever_keys_the_server_has_for_them():
    ports = [{"containerPort": 53, "name": "a"}, {"containerPort": 53, "protocol": "UDP", "name": "b"}]
    tcp, udp = 'k:{"containerPort":53,"protocol":"TCP"}', 'k:{"containerPort":53,"protocol":"UDP"}'
    leaf = {".": {}, "f:containerPort": {}, "f:name": {}}
    fields = {tcp: leaf, udp: leaf | {"f:protocol": {}}}
    assert list(lacking(ports, fields)) == []
    assert list(lacking(ports, {tcp: leaf, udp: {".": {}, "f:containerPort": {}, "f:protocol": {}}})) == [
        (udp, "f:name")
    ]
    assert list(lacking(["a"], {'v:"a"': {}}, ("f:x",))) == []
    assert list(lacking(["b"], {'v:"a"': {}}, ("f:x",))) == [("f:x",)]


def inside(inner):
    items = st.fixed_dictionaries({"name": st.sampled_from("xyz"), "of": inner})
    named = st.lists(items, max_size=3, unique_by=lambda one: one["name"])
    return st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | named


@given(st.recursive(st.integers(), inside, max_leaves=8))
def test_what_was_applied_lacks_nothing(value):
    assert list(lacking({"spec": value}, fields_of({"spec": value}))) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (REPLICAS, "spec.replicas"),
        (("f:spec", "f:containers", 'k:{"name":"engine"}', "f:image"), "spec.containers[engine].image"),
        (("f:metadata", "f:annotations", "f:a.b/c"), "metadata.annotations[a.b/c]"),
    ],
)
def test_a_field_is_named_as_people_know_it(path, text):
    assert readable(path) == text


def test_holders_are_all_managers_but_this_one():
    _, children = settled()
    engine = next(c for c in children if c["kind"] == "Deployment")
    assert holders(engine, REPLICAS) == []
    assert holders(taken_over(taken_over(engine, REPLICAS, "b"), ("f:spec", "f:template"), "a"), REPLICAS) == ["b"]
