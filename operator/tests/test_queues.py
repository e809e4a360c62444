"""Queues that say when the trainer runs, and the names by which pods ask for GPUs."""

import copy

import pytest
from aurora_operator.reconcile.plan import plan
from aurora_operator.render import serving, training
from aurora_operator.render.gpus import names
from aurora_operator.render.identity import Resource
from aurora_operator.render.training import QUEUE
from operator_support import IMAGES, a_snapshot, a_spec, reported, settled, taken_over

TOLERATION = {"key": "spot", "operator": "Exists"}
PLACED = {"podTemplate": {"spec": {"tolerations": [TOLERATION]}}}


def of_queue(spec, **changes):
    """All children, with the trainer's Job as a queue left it."""
    snapshot, children = settled(spec)
    children = copy.deepcopy(children)
    job = next(c for c in children if c["metadata"]["name"] == "chat-trainer")
    job["spec"] |= changes
    return snapshot, children, job


def trainer_changes(todo):
    touched = [body["metadata"]["name"] for body in todo.apply] + [name for _, _, name in todo.delete]
    return [name for name in touched if name == "chat-trainer"]


def test_the_trainer_is_in_the_queue_and_nothing_else_is():
    _, children = settled(a_spec(training={"queueName": "night"}))
    labelled = {c["metadata"]["name"] for c in children if QUEUE in c["metadata"].get("labels", {})}
    assert labelled == {"chat-trainer"}
    job = next(c for c in children if c["metadata"]["name"] == "chat-trainer")
    assert (job["metadata"]["labels"][QUEUE], job["spec"].keys() & {"suspend", "managedBy"}) == ("night", set())
    # Kueue would manage pods with the label on their own.
    assert QUEUE not in job["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("queue", ["night", None])
def test_a_job_that_a_queue_suspends_is_queued_and_stays_suspended(queue):
    spec = a_spec(training={"queueName": queue})
    snapshot, children, _ = of_queue(spec, suspend=True)
    todo = plan(a_snapshot(spec, pods=snapshot.pods, children=children))
    assert trainer_changes(todo) == []
    reason, message = reported("TrainingHealthy", spec=spec, pods=snapshot.pods, children=children)
    assert reason == "Queued"
    assert (f"waits in queue {queue}" if queue else "is suspended by another client") in message


@pytest.mark.parametrize(("ready", "reason"), [(0, "TrainerStarting"), (1, "Running")])
def test_a_job_that_another_cluster_runs_is_as_its_manager_reports_it(ready, reason):
    spec = a_spec(training={"queueName": "night"})
    snapshot, children, job = of_queue(spec, managedBy="kueue.x-k8s.io/multikueue")
    job["status"] = {"ready": ready, "startTime": "2025-01-01T12:00:00Z"}
    assert reported("TrainingHealthy", spec=spec, children=children)[0] == reason
    assert trainer_changes(plan(a_snapshot(spec, pods=snapshot.pods, children=children))) == []


def test_what_a_queue_sets_of_where_pods_run_is_neither_put_back_nor_sent_again():
    spec = a_spec(training={"queueName": "night", **PLACED})
    snapshot, children, job = of_queue(spec, suspend=False)
    at = children.index(job)
    job = taken_over(job, ["f:spec", "f:template", "f:spec", "f:tolerations"], "kueue")
    flavour = {"nodeSelector": {"pool": "spot"}, "tolerations": [TOLERATION, {"key": "gpu", "operator": "Exists"}]}
    job["spec"]["template"]["spec"] |= flavour
    children[at] = job
    assert trainer_changes(plan(a_snapshot(spec, pods=snapshot.pods, children=children))) == []
    # What has to be applied for another reason leaves the template as it is.
    job["metadata"]["annotations"]["aurora-operator.io/applied"] = "other"
    (body,) = (b for b in plan(a_snapshot(spec, pods=snapshot.pods, children=children)).apply if b["kind"] == "Job")
    assert body["spec"]["template"]["spec"].items() >= flavour.items()


def test_a_suspended_trainer_leaves_its_queue_and_another_queue_is_another_job():
    spec = a_spec(training={"queueName": "night"})
    snapshot, children, _ = of_queue(spec)
    at_rest = a_spec(training={"queueName": "night"}, suspend=True)
    todo = plan(a_snapshot(at_rest, pods=snapshot.pods, children=children))
    assert [name for _, _, name in todo.delete] == ["chat-trainer"]
    without = [c for c in children if c["metadata"]["name"] != "chat-trainer"]
    assert trainer_changes(plan(a_snapshot(at_rest, pods=snapshot.pods, children=without))) == []
    assert trainer_changes(plan(a_snapshot(spec, pods=snapshot.pods, children=without))) == ["chat-trainer"]
    other = a_spec(training={"queueName": "day"})
    todo = plan(a_snapshot(other, pods=snapshot.pods, children=children))
    assert [name for _, _, name in todo.delete] == ["chat-trainer"]


def test_what_this_operator_suspended_is_not_called_queued():
    suspended = a_spec(suspend=True)
    _, children = settled(suspended)
    assert reported("TrainingHealthy", spec=suspended, children=children)[0] == "Suspended"
    assert reported("TrainingHealthy", spec=a_spec(), children=children)[0] == "TrainerStarting"


def test_an_init_job_that_another_client_suspends_says_so():
    children = [body for body in settled()[1] if body["metadata"]["name"] != "chat-trainer"]
    children = copy.deepcopy(children)
    init = next(c for c in children if c["metadata"]["name"] == "chat-init")
    init["status"], init["spec"]["suspend"] = {}, True
    assert "job chat-init is suspended by another client" in reported("Available", children=children)[1]


def limits(**part):
    """What the engine's and the trainer's containers are limited to, by a part of the spec that both have."""
    resource = Resource("chat", "ns", "u-1", a_spec(serving=part, training=part))
    pods = serving.deployment(resource, IMAGES, ""), training.trainer_job(resource, IMAGES, "")
    return [one["spec"]["template"]["spec"]["containers"][0]["resources"].get("limits", {}) for one in pods]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({}, {"nvidia.com/gpu": "1"}),
        ({"gpuResource": "amd.com/gpu"}, {"amd.com/gpu": "1"}),
        ({"gpuResource": "nvidia.com/mig-1g.10gb"}, {"nvidia.com/mig-1g.10gb": "1"}),
        ({"gpuResource": "none"}, {}),
        ({"device": "cpu", "gpuResource": "amd.com/gpu"}, {}),
        ({"resources": {"limits": {"nvidia.com/mig-3g.40gb": "2"}}}, {"nvidia.com/mig-3g.40gb": "2"}),
        ({"resources": {"limits": {"nvidia.com/gpu.shared": "1", "memory": "8Gi"}}},
         {"nvidia.com/gpu.shared": "1", "memory": "8Gi"}),
        ({"resources": {"limits": {"rdma/hca": "1"}}}, {"rdma/hca": "1", "nvidia.com/gpu": "1"}),
    ],
)  # fmt: skip
def test_gpus_are_asked_for_by_one_name(part, expected):
    assert limits(**part) == [expected, expected]


def test_claims_of_a_pod_template_reach_the_trainer_and_not_init():
    claims = [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    trainer = {"name": "trainer", "resources": {"claims": [{"name": "gpu"}]}}
    template = {"spec": {"resourceClaims": claims, "containers": [trainer]}}
    resource = Resource("chat", "ns", "u-1", a_spec(training={"gpuResource": "none", "podTemplate": template}))
    pod = training.trainer_job(resource, IMAGES, "")["spec"]["template"]["spec"]
    assert pod["resourceClaims"] == claims
    assert pod["containers"][0]["resources"] == {"claims": [{"name": "gpu"}]}
    init = training.init_job(resource, IMAGES)["spec"]["template"]["spec"]
    assert "resourceClaims" not in init
    assert "claims" not in init["containers"][0]["resources"]


def test_a_limit_of_a_pod_template_names_the_gpus_as_well():
    one = {"name": "engine", "resources": {"limits": {"amd.com/gpu": 1}}}
    spec = a_spec(serving={"podTemplate": {"spec": {"containers": [one]}}})
    assert names(spec.serving, "engine") == ["amd.com/gpu"]
    assert names(spec.training, "trainer") == ["nvidia.com/gpu"]
    resource = Resource("chat", "ns", "u-1", spec)
    engine = serving.deployment(resource, IMAGES, "")["spec"]["template"]["spec"]["containers"][0]
    assert engine["resources"] == {"limits": {"amd.com/gpu": 1}}
