"""What other clients do to the resource itself, as in public bug reports of other operators.

Each is handled right, or reported.
"""

import copy
import json

import pytest
from apiserver_support import GOOD, kubectl
from host import wait
from situation_support import STABLE, Situation


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with Situation("resource-of-others", tmp_path_factory.mktemp("operator")) as made:
        yield made


def test_annotations_and_labels_of_others_cause_no_write_and_reach_no_object(here):
    here.settles()
    before = here.read("deployment", "chat-engine")["metadata"]["generation"]
    here.kubectl("annotate", "specdep", "chat", "example.org/owner=me", "argocd.argoproj.io/tracking-id=a:b:c")
    here.kubectl("label", "specdep", "chat", "kustomize.toolkit.fluxcd.io/name=apps", "app.kubernetes.io/instance=apps")
    assert here.writes_of(3) == 0
    assert here.read("deployment", "chat-engine")["metadata"]["generation"] == before
    for kind, name in (("deployment", "chat-engine"), ("persistentvolumeclaim", "chat-weights")):
        labels = here.read(kind, name)["metadata"]["labels"]
        assert not [one for one in labels if "fluxcd" in one or labels[one] == "apps"]


def test_an_annotation_by_which_nothing_happens_is_named_until_it_is_gone(here):
    here.annotate(rollback="abc")
    message = here.degraded("AnnotationIgnored")
    assert "annotation aurora-operator.io/rollback='abc' is not the number of a version" in message
    assert here.condition("Ready")["reason"] == "AnnotationIgnored"
    assert here.condition("PromotionProgressing")["message"].startswith("annotation aurora-operator.io/rollback='abc'")
    here.annotate(rollback=None, promot="4", speculation="OFF")
    wait("both", lambda: "promot is not known" in here.condition("Degraded")["message"], 20)
    assert "speculation='OFF' is neither off nor on" in here.condition("Degraded")["message"]
    here.annotate(promot=None, speculation=None, reject="1" * 50_000)
    wait("a long one", lambda: "reject=" in here.condition("Degraded")["message"], 20)
    assert len(here.condition("Degraded")["message"]) < 400
    here.annotate(reject=None)
    here.degraded("AsExpected")
    events = json.loads(here.kubectl("get", "events", "-o", "json"))["items"]
    messages = [one["message"] for one in events if one["reason"] == "AnnotationIgnored"]
    assert len(messages) == len(set(messages)) == 3


def test_a_rollback_that_names_what_comes_later_is_refused_and_never_done(here):
    here.annotate(rollback="4:9")
    text = "no rollback to version 9"
    wait("shown", lambda: text in here.condition("PromotionProgressing")["message"], 20)
    assert here.read("specdep", "chat")["status"]["stable"]["version"] == 4
    here.annotate(rollback=None)
    here.degraded("AsExpected")


def test_a_condition_that_another_controller_adds_makes_no_fight(here):
    here.settles()
    found = here.read("specdep", "chat")["status"]["conditions"]
    theirs = {"type": "Synced", "status": "True", "reason": "Theirs", "message": "", "observedGeneration": 1,
              "lastTransitionTime": "2026-01-01T12:00:00Z"}  # fmt: skip
    here.status("chat", {"conditions": [*found, theirs]})
    assert here.writes_of(3) <= 1
    assert here.condition("Ready")


def test_a_status_that_a_client_emptied_in_part_is_complete_again(here):
    here.status("chat", {"conditions": None, "serving": None})
    wait("conditions", lambda: here.condition("Degraded"), 20)
    assert here.read("specdep", "chat")["status"]["stable"]["version"] == 4


def test_a_resource_as_it_was_exported_is_applied_again_with_no_effect(here):
    here.settles()
    before = here.read("specdep", "chat")
    exported = json.loads(here.kubectl("get", "specdep", "chat", "-o", "json"))
    exported["status"]["stable"]["version"] = 9
    del exported["metadata"]["resourceVersion"]
    here.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(exported))
    after = here.read("specdep", "chat")
    assert after["status"]["stable"]["version"] == 4
    assert after["spec"] == before["spec"]
    assert here.writes_of(2) == 0


def test_zero_replicas_are_refused_with_a_message_also_by_an_autoscaler(here):
    done = kubectl("scale", "specdep", "chat", "--replicas=0", "-n", here.space)
    assert done.returncode != 0
    assert "replicas" in done.stderr
    assert "greater than or equal to 1" in done.stderr


def test_replicas_that_an_autoscaler_set_stay_where_git_names_none(here):
    git = GOOD | {"metadata": {"name": "chat"}}
    here.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(git))
    here.kubectl("scale", "specdep", "chat", "--replicas=3")
    wait("three", lambda: here.read("deployment", "chat-engine")["spec"]["replicas"] == 3, 20)
    here.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(git))
    assert here.read("specdep", "chat")["spec"]["serving"]["replicas"] == 3
    here.kubectl("scale", "specdep", "chat", "--replicas=1")
    wait("one", lambda: here.read("deployment", "chat-engine")["spec"]["replicas"] == 1, 20)


@pytest.mark.parametrize("name", ["chat.v2", "2chat", "c" * 41])
def test_a_name_that_no_service_can_have_is_refused_at_admission(here, name):
    done = kubectl("create", "-n", here.space, "-f", "-", stdin=json.dumps(GOOD | {"metadata": {"name": name}}))
    assert done.returncode != 0
    assert "metadata.name" in done.stderr


def test_a_generated_name_is_a_name_like_any_other(here):
    body = copy.deepcopy(GOOD) | {"metadata": {"generateName": "run-"}}
    name = here.kubectl("create", "-f", "-", "-o", "name", stdin=json.dumps(body)).strip().partition("/")[2]
    wait("its job", lambda: here.read("job", f"{name}-init"), 20)
    here.kubectl("delete", "specdep", name)


def test_a_prometheus_that_does_not_exist_rejects_no_version(here):
    trial = {"version": 5, "steps": 3, "since": "2026-01-01T12:00:00Z", "metric": "AcceptLength"}
    here.status("chat", {"candidate": trial})
    wait("shown", lambda: here.condition("PromotionProgressing").get("reason") == "NoData", 30)
    found = here.read("specdep", "chat")["status"]
    assert (found["candidate"]["version"], found.get("history", [])) == (5, [])
    here.status("chat", {"candidate": None})


def test_events_are_not_repeated_while_nothing_changes(here):
    def events():
        found = json.loads(here.kubectl("get", "events", "-o", "json"))["items"]
        return sorted((one["metadata"]["name"], one.get("count", 1)) for one in found)

    def quiet():
        before = events()
        return here.writes_of(3) == 0 and events() == before

    wait("three reconciles without a write or an Event", quiet, 40)


def test_a_finalizer_of_another_client_is_left_and_what_is_being_deleted_is_not_made_again(here):
    here.create("kept", finalizers=["example.org/keep"])
    wait("its job", lambda: here.read("job", "kept-init"), 20)
    here.kubectl("delete", "specdep", "kept", "--wait=false")
    here.kubectl("delete", "job", "kept-init")
    here.writes_of(3)
    assert here.read("job", "kept-init") is None
    assert here.read("specdep", "kept")["metadata"]["finalizers"] == ["example.org/keep"]
    here.patch("specdep", "kept", {"metadata": {"finalizers": None}})
    wait("gone", lambda: here.read("specdep", "kept") is None, 10)


def test_what_happened_while_the_operator_was_away_is_made_up_for_and_nothing_waited_for_it(here):
    """Given no operator, when resources change, go, and are made again, none of it waits, and then all is right."""
    here.create("gone")
    here.create("again")
    wait("their jobs", lambda: here.read("job", "gone-init") and here.read("job", "again-init"), 20)
    here.operator.stop()
    assert not here.read("specdep", "chat")["metadata"].get("finalizers")
    here.kubectl("delete", "specdep", "gone", "again", "--timeout=5s")
    here.create("again")
    here.patch("specdep", "chat", {"spec": {"serving": {"replicas": 2}}})
    here.kubectl("delete", "service", "chat")
    here.start()
    uid = here.read("specdep", "again")["metadata"]["uid"]

    def owners():
        return [one["uid"] for one in (here.read("job", "again-init") or {"metadata": {}})["metadata"].get(
            "ownerReferences", [])]  # fmt: skip

    wait("two replicas", lambda: here.read("deployment", "chat-engine")["spec"]["replicas"] == 2, 30)
    wait("its service", lambda: here.read("service", "chat"), 20)
    wait("its new owner alone", lambda: owners() == [uid], 20)
    assert here.read("specdep", "chat")["status"]["stable"]["version"] == STABLE["version"]
