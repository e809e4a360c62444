"""What another client set on the operator's own objects, so that what is desired never comes."""

import copy
from datetime import timedelta

import pytest
from operator_support import NOW, reported, settled


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
def test_an_object_whose_deletion_another_client_holds_up_is_named_with_that_client(finalizer, seconds, named):
    def hold(body):
        body["metadata"] |= {"deletionTimestamp": "2026-01-01T12:00:00Z", "finalizers": [finalizer]}

    now = NOW + timedelta(seconds=seconds)
    reason, message = reported("Degraded", now=now, children=changed("chat-trainer", hold))
    assert (reason == "DeletionHeld") == named
    assert message.startswith("Job chat-trainer is being deleted") == named
    assert (finalizer in message) == named
