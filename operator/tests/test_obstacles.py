"""What another client set on the operator's own objects, so that what is desired never comes."""

import copy
from dataclasses import replace
from datetime import timedelta

import pytest
from aurora_operator.reconcile.plan import plan
from aurora_operator.render.credentials import NAMES
from operator_support import NOW, a_snapshot, a_spec, reported, settled


def changed(name, change):
    """The children, one of them changed."""
    _, children = settled()
    out = copy.deepcopy(children)
    change(next(body for body in out if body["metadata"]["name"] == name))
    return out


@pytest.mark.parametrize(("updated", "named"), [(0, True), (1, False)])
def test_a_paused_deployment_is_reported_while_a_change_waits_for_its_pods(updated, named):
    def pause(body):
        body["spec"]["paused"] = True
        body["status"] = {"updatedReplicas": updated}

    reason, message = reported("Degraded", children=changed("chat-engine", pause))
    assert (reason == "RolloutPaused") == named
    assert message.endswith("kubectl rollout resume deployment/chat-engine") == named


@pytest.mark.parametrize(
    ("finalizer", "seconds", "named"),
    [("example.org/hold", 61, True), ("example.org/hold", 59, False), ("foregroundDeletion", 61, False),
     ("batch.kubernetes.io/job-tracking", 61, False)],
)  # fmt: skip
def test_an_object_whose_deletion_another_client_blocks_is_named_with_that_client(finalizer, seconds, named):
    def hold(body):
        body["metadata"] |= {"deletionTimestamp": "2026-01-01T12:00:00Z", "finalizers": [finalizer]}

    now = NOW + timedelta(seconds=seconds)
    reason, message = reported("Degraded", now=now, children=changed("chat-trainer", hold))
    assert (reason == "DeletionHeld") == named
    assert message.startswith("Job chat-trainer is being deleted") == named
    assert (finalizer in message) == named


def test_no_pod_is_made_of_credentials_that_cannot_be_stored():
    """Given a Secret of that name that another has, when some are made at each reconcile, then no pod restarts."""
    snapshot, children = settled()
    without = [body for body in children if body["kind"] != "Secret"]
    taken = frozenset({("v1", "Secret", "chat-keys")})
    for value in ("a", "b"):
        seen = replace(
            a_snapshot(children=without, pods=snapshot.pods, taken=taken), new_credentials=dict.fromkeys(NAMES, value)
        )
        found = plan(seen)
        assert [body["kind"] for body in found.apply] == []
        assert found.delete == ()
    reason, message = reported("Degraded", children=without, taken=taken)
    assert (reason, message.partition(" already")[0]) == ("NameTaken", "Secret ns/chat-keys")


def test_a_job_that_is_being_deleted_is_not_deleted_again():
    _, children = settled()
    spec = a_spec(training={"image": "registry/other:1"})
    job = ("batch/v1", "Job", "chat-trainer")
    assert job in plan(a_snapshot(spec, children=children)).delete
    going = changed("chat-trainer", lambda body: body["metadata"].update(deletionTimestamp="2026-01-01T12:00:00Z"))
    found = plan(a_snapshot(spec, children=going))
    assert job not in found.delete
    assert "chat-trainer" not in {body["metadata"]["name"] for body in found.apply}
