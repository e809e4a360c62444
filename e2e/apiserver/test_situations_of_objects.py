"""What other clients do to the objects of a resource, as in public bug reports of other operators.

Each is handled right, or reported.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest
from host import wait
from situation_support import Situation


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with Situation("objects-of-others", tmp_path_factory.mktemp("operator")) as made:
        yield made


def test_an_object_that_a_backup_restored_without_its_owner_has_it_again(here):
    uid = here.read("service", "chat")["metadata"]["uid"]
    here.patch("service", "chat", {"metadata": {"ownerReferences": None}})
    wait("its owner", lambda: here.read("service", "chat")["metadata"].get("ownerReferences"), 20)
    assert here.read("service", "chat")["metadata"]["uid"] == uid
    assert here.degraded("AsExpected") == ""


def test_an_object_without_the_label_that_is_watched_is_neither_lost_nor_made_twice(here):
    name = "app.kubernetes.io/managed-by"
    before = here.read("configmap", "chat-desired")["metadata"]
    here.patch("configmap", "chat-desired", {"metadata": {"labels": {name: None}}})
    wait("its label", lambda: name in here.read("configmap", "chat-desired")["metadata"]["labels"], 20)
    assert here.read("configmap", "chat-desired")["metadata"]["uid"] == before["uid"]


def test_a_key_that_is_taken_out_of_the_secret_comes_back_and_the_others_stay(here):
    before = here.read("secret", "chat-keys")["data"]
    here.patch("secret", "chat-keys", {"data": {"samples": None}})
    wait("the key", lambda: "samples" in here.read("secret", "chat-keys")["data"], 20)
    after = here.read("secret", "chat-keys")["data"]
    assert {k: v for k, v in after.items() if k != "samples"} == {k: v for k, v in before.items() if k != "samples"}
    assert after["samples"] != before["samples"]


def test_a_config_map_that_was_made_immutable_is_named_with_the_servers_words(here):
    here.patch("configmap", "chat-desired", {"immutable": True})
    here.annotate(speculation="off")
    message = here.degraded("ApplyRefused")
    assert "chat-desired" in message
    assert "immutable" in message
    assert here.condition("Speculating")["reason"] == "SwitchedOff"
    here.annotate(speculation=None)
    here.kubectl("delete", "configmap", "chat-desired")
    here.degraded("AsExpected")


def test_a_paused_rollout_is_named_where_a_change_waits_for_it(here):
    here.kubectl("rollout", "pause", "deployment/chat-engine")
    assert "kubectl rollout resume deployment/chat-engine" in here.degraded("RolloutPaused")
    here.kubectl("rollout", "resume", "deployment/chat-engine")
    here.degraded("AsExpected")


def test_a_quota_that_takes_no_pod_is_in_the_condition_in_its_own_words(here):
    words = 'pods "chat-engine-1" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    here.patch("deployment", "chat-engine", {"status": {"conditions": [failure]}}, "--subresource=status")
    wait("the words", lambda: words in here.condition("Available")["message"], 20)
    assert here.condition("Available")["reason"] == "EngineFailing"
    assert here.degraded("ReplicasFailing").endswith(words)
    here.patch("deployment", "chat-engine", {"status": {"conditions": None}}, "--subresource=status")
    here.degraded("AsExpected")


def test_a_finalizer_of_another_client_on_an_object_makes_no_loop_and_ends_with_it(here):
    here.settles()
    here.patch("service", "chat", {"metadata": {"finalizers": ["example.org/load-balancer"]}})
    here.kubectl("delete", "service", "chat", "--wait=false")
    assert here.writes_of(2) <= 1
    uid = here.read("service", "chat")["metadata"]["uid"]
    here.patch("service", "chat", {"metadata": {"finalizers": None}})
    here.is_another("service", "chat", uid)


def test_a_job_that_failed_for_good_is_made_again(here):
    """Given a deadline that a policy set, when the Job controller gives up, then training does not stop for ever."""
    uid = here.read("job", "chat-trainer")["metadata"]["uid"]
    words = {"status": "True", "reason": "DeadlineExceeded", "message": "it took too long"}
    began, ended = (datetime.now(UTC) - timedelta(seconds=ago) for ago in (600, 54))
    conditions = [
        words | {"type": kind, "lastTransitionTime": f"{ended:%FT%TZ}"} for kind in ("FailureTarget", "Failed")
    ]
    status = {"startTime": f"{began:%FT%TZ}", "failed": 1, "conditions": conditions}
    here.patch("job", "chat-trainer", {"status": status}, "--subresource=status")
    text = "job chat-trainer failed (DeadlineExceeded: it took too long)"
    wait("reported", lambda: here.condition("TrainingHealthy")["message"].startswith(text), 20)
    here.is_another("job", "chat-trainer", uid)


def test_what_others_write_beside_is_left_alone_and_nothing_is_written_for_it(here):
    here.settles()
    for kind, name in (("service", "chat"), ("pvc", "chat-weights"), ("deployment", "chat-engine")):
        here.kubectl("annotate", kind, name, "backup.example.org/last=today", "--overwrite")
        here.kubectl("label", kind, name, "cost-center=ml", "--overwrite")
    here.patch("service", "chat", {"spec": {"sessionAffinity": "ClientIP"}})
    here.patch("configmap", "chat-desired", {"data": {"reloaded": "yes"}})
    assert here.writes_of(3) == 0
    assert here.read("service", "chat")["spec"]["sessionAffinity"] == "ClientIP"
    assert here.read("configmap", "chat-desired")["data"]["reloaded"] == "yes"


def test_a_deployment_of_another_owner_is_not_touched_and_keeps_nothing_else_back(here):
    labels = {"app": "theirs"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "clash-engine"}, "spec": spec}
    here.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
    before = here.read("deployment", "clash-engine")["metadata"]
    here.create("clash")
    wait("its job", lambda: here.read("job", "clash-init"), 30)
    here.patch("job", "clash-init", {"status": {"succeeded": 1}}, "--subresource=status")
    wait("its trainer", lambda: here.read("job", "clash-trainer"), 30)
    assert f"Deployment {here.space}/clash-engine already exists" in here.degraded("NameTaken", "clash")
    after = here.read("deployment", "clash-engine")["metadata"]
    assert (after["resourceVersion"], after.get("labels")) == (before["resourceVersion"], before.get("labels"))
    here.kubectl("delete", "specdep,deployment", "clash", "clash-engine", "--ignore-not-found")
