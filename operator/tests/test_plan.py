"""From a snapshot to what is done: what is missing is made, what drifted is put back, the rest is left."""

from datetime import timedelta

import pytest
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile.drift import rendered
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Applied, key
from aurora_operator.render.identity import Resource
from operator_support import NOW, a_snapshot, a_spec, as_applied, settled, taken_over


def kinds(bodies):
    return {(body["kind"], body["metadata"]["name"]) for body in bodies}


def test_nothing_serves_before_the_target_is_there():
    made = kinds(plan(a_snapshot()).apply)
    assert made == {
        ("PersistentVolumeClaim", "chat-weights"), ("ConfigMap", "chat-config"), ("ConfigMap", "chat-desired"),
        ("Secret", "chat-keys"), ("Job", "chat-init"),
    }  # fmt: skip


def test_then_everything_else_is_made_and_then_nothing_more():
    snapshot, children = settled()
    assert ("Deployment", "chat-engine") in kinds(children)
    assert ("Job", "chat-trainer") in kinds(children)
    assert plan(a_snapshot(pods=snapshot.pods, versions=snapshot.versions, children=children)).apply == ()


def test_a_second_reconcile_of_an_unchanged_snapshot_writes_nothing():
    snapshot, children = settled()
    first = plan(a_snapshot(pods=snapshot.pods, versions=snapshot.versions, children=children))
    status = Status.model_validate(first.status)
    second = plan(
        a_snapshot(
            status=status,
            pods=snapshot.pods,
            versions=snapshot.versions,
            children=children,
            now=NOW + timedelta(hours=1),
        )
    )
    assert (second.apply, second.delete, second.loads, second.status, second.notes) == ((), (), (), None, ())


@pytest.mark.parametrize(
    "path",
    ["f:spec f:replicas", "f:spec f:template f:spec f:automountServiceAccountToken", "f:metadata f:labels",
     'f:spec f:template f:spec f:containers k:{"name":"agent"} f:image'],
)  # fmt: skip
def test_what_another_client_changed_is_put_back(path):
    snapshot, children = settled()
    children = [taken_over(c, path.split()) if c["metadata"]["name"] == "chat-engine" else c for c in children]
    todo = plan(a_snapshot(pods=snapshot.pods, children=children))
    assert kinds(todo.apply) == {("Deployment", "chat-engine")}
    assert todo.undone[key(todo.apply[0])].startswith("other sets ")


@pytest.mark.parametrize("fields", [None, [], [{"manager": "velero", "operation": "Update", "fieldsV1": {}}]])
def test_what_nobody_is_known_to_have_applied_is_applied_once(fields):
    snapshot, children = settled()
    engine = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    engine["metadata"]["managedFields"] = fields
    assert kinds(plan(a_snapshot(pods=snapshot.pods, children=children)).apply) == {("Deployment", "chat-engine")}


def test_whatever_the_server_and_its_webhooks_make_of_values_nothing_is_applied():
    snapshot, children = settled(a_spec(serving={"resources": {"limits": {"memory": "1024Mi", "cpu": "0.5"}}}))
    engine = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    container = engine["spec"]["template"]["spec"]["containers"][0]
    container["resources"]["limits"] = {"memory": "1Gi", "cpu": "500m"}
    container["image"] = "mirror.example.com/engine:1"
    container["env"] = []
    todo = plan(a_snapshot(snapshot.spec, pods=snapshot.pods, children=children))
    assert (todo.apply, todo.delete) == ((), ())


def test_a_webhook_that_takes_annotations_away_restarts_nothing():
    snapshot, children = settled()
    memory = {key(c): Applied(rendered(c), NOW) for c in children}
    for child in children:
        child["metadata"]["annotations"] = {}
    todo = plan(a_snapshot(pods=snapshot.pods, children=children, applied=memory))
    assert (todo.apply, todo.delete) == ((), ())
    # An operator that was started again applies each once.
    todo = plan(a_snapshot(pods=snapshot.pods, children=children))
    assert todo.delete == ()
    again = {key(body): Applied(rendered(body), NOW) for body in todo.apply} | memory
    assert plan(a_snapshot(pods=snapshot.pods, children=children, applied=again)).apply == ()


def test_what_others_add_is_left_alone():
    snapshot, children = settled()
    engine = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    engine["metadata"]["annotations"]["another"] = "owner"
    engine["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    engine["spec"]["template"]["spec"]["containers"].append({"name": "mesh"})
    assert plan(a_snapshot(pods=snapshot.pods, children=children)).apply == ()


def test_other_hyperparameters_recreate_the_trainer_and_leave_serving_alone():
    snapshot, children = settled()
    changed = a_spec(training={"hyperparameters": {"lr": 0.5}})
    todo = plan(a_snapshot(changed, pods=snapshot.pods, children=children))
    assert [name for _, _, name in todo.delete] == ["chat-trainer"]
    assert kinds(todo.apply) == {("ConfigMap", "chat-config")}


@pytest.mark.parametrize(
    ("change", "engines", "trainer"),
    [
        ({"promotion": {"prometheus": {"url": "http://other:9090"}, "gate": {"confidence": 0.99}}}, False, False),
        ({"weights": {"onDelete": "Delete"}}, False, False),
        ({"weights": {"keep": 9}}, False, True),
        ({"samples": {"sampleRate": 0.5}}, False, False),
        ({"samples": {"poolSize": 7}}, False, True),
        ({"samples": {"maxTokens": 77}}, True, True),
        ({"draft": {"numSteps": 2, "numDraftTokens": 3}}, True, True),
        ({"serving": {"threads": 3}}, True, False),
        ({"serving": {"extraArgs": ["--mem-fraction-static", "0.7"]}}, True, False),
        ({"serving": {"podTemplate": {"spec": {"nodeSelector": {"gpu": "h100"}}}}}, True, False),
        ({"training": {"podTemplate": {"spec": {"nodeSelector": {"gpu": "h100"}}}}}, False, True),
    ],
)
def test_a_change_restarts_what_it_must_and_nothing_else(change, engines, trainer):
    snapshot, children = settled()
    todo = plan(a_snapshot(a_spec(**change), pods=snapshot.pods, versions=snapshot.versions, children=children))
    templates = {
        body["metadata"]["name"]: body["spec"]["template"] for body in children if "template" in body.get("spec", {})
    }
    applied = {
        body["metadata"]["name"]: body["spec"]["template"] for body in todo.apply if body["kind"] == "Deployment"
    }
    assert any(applied[name] != templates[name] for name in applied) == engines
    assert [name for _, _, name in todo.delete] == ["chat-trainer"] * trainer


def test_a_change_that_is_taken_back_recreates_the_trainer_too():
    """What is no longer named is in the Job still, and a Job's template cannot be changed."""
    broken = {"spec": {"containers": [{"name": "trainer", "env": [{"name": "PYTHONHOME", "value": "/nowhere"}]}]}}
    snapshot, children = settled(a_spec(training={"podTemplate": broken}))
    todo = plan(a_snapshot(a_spec(), pods=snapshot.pods, children=children))
    assert [name for _, _, name in todo.delete] == ["chat-trainer"]
    assert kinds(todo.apply) == set()


def test_what_is_no_longer_desired_goes():
    two = a_spec(serving={"replicas": 2}, samples={
        "transport": "Mooncake", "mooncakeMaster": "m:1", "mooncakeMetadata": "http://m/metadata"
    })  # fmt: skip
    snapshot, children = settled(two)
    budget, service = ("policy/v1", "PodDisruptionBudget", "chat-engine"), ("v1", "Service", "chat-trainer")
    assert {budget, service} <= {key(child) for child in children}
    assert set(plan(a_snapshot(two, pods=snapshot.pods, children=children)).delete) == set()
    assert {budget, service} <= set(plan(a_snapshot(pods=snapshot.pods, children=children)).delete)
    # While a lost Job is recreated and nothing serves it is not known what is desired.
    rest = [child for child in children if child["metadata"]["name"] != "chat-init"]
    assert plan(a_snapshot(children=rest)).delete == ()


def test_an_object_of_another_owner_is_left_alone_and_reported():
    snapshot, children = settled()
    service, unused = ("v1", "Service", "chat"), ("v1", "Service", "chat-trainer")
    rest = [child for child in children if key(child) != service]
    todo = plan(a_snapshot(pods=snapshot.pods, children=rest, taken=frozenset({service, unused})))
    assert (todo.apply, todo.delete) == ((), ())
    reported = next(c for c in todo.status["conditions"] if c["type"] == "Degraded")
    assert (reported["status"], reported["reason"]) == ("True", "NameTaken")
    assert reported["message"].startswith("Service ns/chat already exists and is not owned by this resource")


@pytest.mark.parametrize(
    ("metadata", "ours"),
    [
        ({}, False),
        ({"labels": {"app.kubernetes.io/instance": "chat", "app.kubernetes.io/managed-by": "Helm"}}, False),
        ({"ownerReferences": [{"uid": "another"}]}, False),
        ({"ownerReferences": [{"uid": "another"}, {"uid": "u-1"}]}, True),
    ],
)
def test_whose_an_object_is(resource, metadata, ours):
    assert resource.owns({"metadata": metadata}) == ours
    outlived = resource.metadata("chat-weights", "weights", owned=False)
    before = {"labels": resource.labels("weights")}
    assert resource.owns({"metadata": before}), "as claims were labelled once"
    assert resource.owns({"metadata": outlived})
    assert not Resource("code", "ns", "u-2", a_spec()).owns({"metadata": outlived})


def test_suspend_stops_training_and_capture_and_nothing_else():
    snapshot, children = settled()
    todo = plan(a_snapshot(a_spec(suspend=True), pods=snapshot.pods, children=children))
    assert todo.delete == ()
    assert kinds(todo.apply) == {("Job", "chat-trainer")}
    assert todo.apply[0]["spec"]["suspend"] is True
    children = [as_applied(todo.apply[0]) if key(c) == key(todo.apply[0]) else c for c in children]
    assert plan(a_snapshot(a_spec(suspend=True), pods=snapshot.pods, children=children)).apply == ()
    assert [load.rate for load in todo.loads] == [0.0]
    # Not set at all otherwise: a queue may suspend it.
    todo = plan(a_snapshot(pods=snapshot.pods, children=children))
    assert (kinds(todo.apply), todo.delete) == ({("Job", "chat-trainer")}, ())
    assert "suspend" not in todo.apply[0]["spec"]


def test_the_sample_rate_changes_in_place():
    snapshot, children = settled()
    todo = plan(a_snapshot(a_spec(samples={"sampleRate": 0.25}), pods=snapshot.pods, children=children))
    assert ("Deployment", "chat-engine") not in kinds(todo.apply)
    assert [load.rate for load in todo.loads] == [0.25]


def test_a_pod_that_serves_something_else_is_reported_and_a_silent_one_is_not():
    stable = Status(stable=Stable(version=4, steps=3, since=NOW), decided=4)
    pods = (Pod("a", "x", 2, 3, 1.0), Pod("b", "x", 4, 3, 1.0), Pod("c", "x", problem="silent"))
    todo = plan(a_snapshot(status=stable, pods=pods))
    assert [(load.pod.name, load.version, load.steps) for load in todo.loads] == [("a", 4, 3)]
    degraded = next(c for c in todo.status["conditions"] if c["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "AgentSilent")


def test_a_trial_of_an_older_operator_begins_again_and_its_status_stays_readable():
    body = Status(stable=Stable(version=4, steps=3, since=NOW), decided=4).model_dump(mode="json", by_alias=True)
    body["candidate"] = {"version": 9, "since": NOW.isoformat(), "analyses": 3}
    read = Status.model_validate(body)
    assert (read.candidate, read.stable.version, read.decided) == (None, 4, 4)


def test_what_is_in_use_is_reported_to_the_trainer():
    status = Status(
        stable=Stable(version=4, steps=3, since=NOW, previous=2),
        candidate=Candidate(version=9, steps=3, since=NOW),
        decided=4,
    )
    todo = plan(a_snapshot(status=status, pods=(Pod("a", "x", 3, 3, 1.0),)))
    desired = next(b for b in todo.apply if b["metadata"]["name"] == "chat-desired")
    assert desired["data"] == {"version": "4", "steps": "3", "digest": "", "in-use": "2,3,4,9"}


def applied(spec, children):
    """What is applied once the spec is another one."""
    snapshot, _ = settled()
    return kinds(plan(a_snapshot(spec, pods=snapshot.pods, versions=snapshot.versions, children=children)).apply)


@pytest.mark.parametrize("weights", [{"template": {"size": "30Gi"}}, {"onDelete": "Delete"}])
def test_a_claim_is_applied_when_its_wish_changes(weights):
    _, children = settled()
    assert applied(a_spec(weights=weights), children) == {("PersistentVolumeClaim", "chat-weights")}


def test_a_claim_that_was_grown_manually_stays_so():
    _, children = settled()
    claim = next(c for c in children if c["kind"] == "PersistentVolumeClaim")
    claim["spec"]["resources"]["requests"]["storage"] = "99Gi"
    assert applied(a_spec(), children) == set()
