"""Only pods whose controllers lead to what the operator made are a resource's own."""

import pytest
from aurora_operator.reconcile.ownership import Pods, made_by, sorted_out
from aurora_operator.render.identity import Resource
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_spec, reported

RESOURCE = Resource("chat", "ns", "u-1", a_spec())
CHILDREN = {
    ("apps/v1", "Deployment", "chat-engine"): {"metadata": {"name": "chat-engine", "uid": "deployment"}},
    ("batch/v1", "Job", "chat-trainer"): {"metadata": {"name": "chat-trainer", "uid": "trainer"}},
    ("batch/v1", "Job", "chat-init"): {"metadata": {"name": "chat-init", "uid": "init"}},
    ("v1", "ConfigMap", "chat-config"): {"metadata": {"name": "chat-config", "uid": "config"}},
}


def owned(name, owner, *, controls=True, **metadata):
    reference = {"kind": "Any", "name": "any", "uid": owner, "controller": controls}
    return {"metadata": {"name": name, "ownerReferences": [reference], **metadata}}


SETS = (owned("chat-engine-1", "deployment", uid="set"), owned("chat-engine-2", "other", uid="set of another"))


def of(*pods):
    return sorted_out(pods, made_by(RESOURCE, CHILDREN, SETS), NOW)


@pytest.mark.parametrize("uid", ["set", "trainer", "init"])
def test_a_pod_of_its_own_workloads_is_its_own(uid):
    pod = owned("chat-engine-1-a", uid)
    assert of(pod) == Pods((pod,))


@pytest.mark.parametrize(
    "pod",
    [
        {"metadata": {"name": "chat-engine-1-a"}},
        {"metadata": {"name": "chat-engine-1-a", "ownerReferences": None}},
        owned("chat-engine-1-a", "set of another"),
        owned("chat-engine-1-a", "set", controls=False),
        owned("chat-engine-1-a", "deployment"),
        owned("chat-engine-1-a", "config"),
        owned("chat-engine-1-a", ""),
    ],
)
def test_a_pod_that_only_has_its_names_and_labels_is_a_stranger(pod):
    assert of(pod) == Pods((), ("chat-engine-1-a",))


def test_nothing_is_own_where_the_operator_has_made_nothing():
    bare = ({"metadata": {"name": "s", "uid": "set"}}, {"metadata": {"name": "s"}})
    children = {at: {"metadata": {"name": at[2]}} for at in CHILDREN}
    assert made_by(RESOURCE, {}, SETS) == made_by(RESOURCE, children, (*SETS, *bare)) == frozenset()


@pytest.mark.parametrize(
    "metadata", [{"creationTimestamp": "2026-01-01T11:59:45Z"}, {"deletionTimestamp": "2026-01-01T11:59:45Z"}]
)
def test_a_pod_that_came_just_now_or_is_about_to_go_is_neither(metadata):
    assert of(owned("chat-engine-1-a", "unknown", **metadata)) == Pods()


@given(st.lists(st.sampled_from(["set", "set of another", "trainer", "", "x"])))
def test_no_pod_is_both_and_none_is_lost(uids):
    pods = [owned(f"p{number}", uid) for number, uid in enumerate(uids)]
    found = of(*pods)
    names = [pod["metadata"]["name"] for pod in found.own]
    assert sorted([*names, *found.strangers]) == sorted(f"p{number}" for number in range(len(uids)))
    assert all(uids[int(name[1:])] in {"set", "trainer"} for name in names)


def test_strangers_are_reported_and_hide_nothing_worse():
    reason, message = reported("Degraded", strangers=("a", "b", "c", "d"))
    assert reason == "ForeignPods"
    assert "a, b, c and 1 more" in message
    assert reported("Degraded", strangers=("a",), credential_problem="no key")[0] == "CredentialRefused"
