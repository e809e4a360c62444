"""Two installations on one resource: never a fight, always noticed; and one alone is never kept from acting."""

from datetime import timedelta

from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.rival import STAMP, Claims
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_snapshot, settled


class Installation:
    def __init__(self, name):
        self.name, self.claims, self.acted, self.stood_back = name, Claims(name), 0, 0

    def reconcile(self, annotations, now):
        if self.claims.stands_back("ns/chat", annotations, now):
            self.stood_back += 1
            annotations |= self.claims.mark(annotations, now) or {}
            return
        self.acted += annotations.get(STAMP) != self.name
        annotations[STAMP] = self.name
        self.claims.acted("ns/chat")


def test_one_that_is_installed_again_under_another_name_takes_over_at_once():
    annotations, later = {}, NOW
    Installation("a/aurora").reconcile(annotations, NOW)
    new = Installation("b/aurora")
    for _ in range(100):
        later += timedelta(seconds=7)
        new.reconcile(annotations, later)
    assert (annotations[STAMP], new.acted, new.stood_back) == ("b/aurora", 1, 0)
    assert new.claims.rival(annotations, later) == ""


def test_two_at_once_take_turns_of_ten_minutes_and_the_acting_one_knows_the_other():
    annotations, a, b, known = {}, Installation("a/aurora"), Installation("b/aurora"), 0
    for step in range(514):
        now = NOW + timedelta(seconds=7 * step)
        for one in (a, b):
            one.reconcile(annotations, now)
            if annotations[STAMP] == one.name:
                known += one.claims.rival(annotations, now) != ""
    assert a.acted + b.acted <= 9
    assert known > 500


def test_when_one_is_removed_the_other_acts_and_forgets_it():
    annotations, a, b = {}, Installation("a/aurora"), Installation("b/aurora")
    for step in range(20):
        for one in (a, b):
            one.reconcile(annotations, NOW + timedelta(seconds=7 * step))
    for step in range(20, 300):
        a.reconcile(annotations, NOW + timedelta(seconds=7 * step))
    assert annotations[STAMP] == "a/aurora"
    assert a.claims.rival(annotations, NOW + timedelta(seconds=7 * 300)) == ""


@given(st.dictionaries(st.sampled_from([STAMP, "aurora-operator.io/rival"]), st.text(max_size=40)))
def test_whatever_the_annotations_hold_one_alone_acts(annotations):
    alone = Installation("a/aurora")
    alone.reconcile(annotations, NOW)
    assert annotations[STAMP] == "a/aurora"
    alone.claims.rival(annotations, NOW)
    Claims("").rival(annotations, NOW)
    assert not Claims("").stands_back("ns/chat", annotations, NOW)


def test_the_plan_stamps_one_object_and_restarts_nothing():
    snapshot, children = settled()
    assert (
        plan(a_snapshot(snapshot.spec, pods=snapshot.pods, versions=snapshot.versions, children=children)).apply == ()
    )
    todo = plan(
        a_snapshot(
            snapshot.spec, pods=snapshot.pods, versions=snapshot.versions, children=children, operator="a/aurora"
        )
    )
    assert [body["metadata"]["name"] for body in todo.apply] == ["chat-desired"]
    assert todo.apply[0]["metadata"]["annotations"][STAMP] == "a/aurora"
