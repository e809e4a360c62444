"""Trainers of several pods, in a queue: what the operator makes, and what it leaves to Kueue, on a real API server.

Without controllers; what Kueue and the Job controller would write is written by the test.
"""

import json
import secrets

import apiserver_support
import pytest
from apiserver_support import GOOD, kubectl
from aurora_operator.api.spec import Spec
from aurora_operator.render import ranks, training
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.training import QUEUE
from host import wait
from operated import Operator, prepare
from webhook import Mutating, rule

# Without a namespace controller a deleted namespace never goes.
SPACE = ("-n", f"trainers-{secrets.token_hex(4)}")
IMAGES = Images("registry.example.org/engine:1", "registry.example.org/trainer:1")
CLAIMS = {
    "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
    "containers": [{"name": "trainer", "resources": {"claims": [{"name": "gpu"}]}}],
}
GROUPS = [
    {"nodes": 2, "device": "cpu"},
    {"gpus": 8, "gpuResource": "nvidia.com/mig-1g.10gb", "queueName": "night"},
    {"nodes": 64, "gpus": 16, "gpuResource": "amd.com/gpu"},
    {"nodes": 2, "gpuResource": "none", "podTemplate": {"spec": CLAIMS}},
]


def read(kind, name):
    return apiserver_support.read(SPACE[1], kind, name)


def condition(kind):
    found = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def patch(kind, name, body, *arguments):
    done = kubectl("patch", kind, name, *SPACE, *arguments, "-p", json.dumps(body))
    assert done.returncode == 0, done.stderr


def desire(**spec):
    patch("specdep", "chat", {"spec": spec}, "--type=merge")


def trainer():
    return read("job", "chat-trainer") or {"metadata": {"uid": ""}, "spec": {}}


@pytest.mark.parametrize("group", GROUPS, ids=range(len(GROUPS)))
def test_the_api_server_takes_every_kind_of_trainer(group):
    body = GOOD | {"metadata": {"name": "a" * 40, "namespace": "default"}}
    body["spec"] = GOOD["spec"] | {"training": group}
    resource = Resource("a" * 40, "default", "5e6a2f3e-0000-4000-8000-000000000000", Spec.model_validate(body["spec"]))
    items = [body, training.trainer_job(resource, IMAGES, "stamp"), ranks.service(resource)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr


def suspended(body):
    """As Kueue's webhook makes Jobs of a queue."""
    if QUEUE in body["metadata"].get("labels", {}):
        body["spec"]["suspend"] = True
    return body


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    kubectl("create", "namespace", SPACE[1])
    folder = tmp_path_factory.mktemp("trainers")
    log = folder / "log"
    kueue = Mutating.start(folder, SPACE[1], suspended, rule("jobs", operations=("CREATE",)))
    running = Operator.start(SPACE[1], log)
    placed = {"spec": {"tolerations": [{"key": "spot", "operator": "Exists"}]}}
    body = GOOD | {"metadata": {"name": "chat"}}
    body["spec"] = GOOD["spec"] | {"training": {"nodes": 2, "queueName": "night", "podTemplate": placed}}
    assert kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
    wait("a job", lambda: read("job", "chat-init"), 20)
    prepare(SPACE[1], "job/chat-init")
    wait("a trainer", lambda: read("job", "chat-trainer"), 20)
    yield running
    running.stop()
    kueue.stop()
    print(log.read_text())
    kubectl("delete", "namespace", SPACE[1], "--wait=false")


@pytest.mark.usefixtures("operator")
def test_what_a_queue_sets_of_the_trainer_stays_and_is_reported():
    job = trainer()
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 2)
    assert (job["metadata"]["labels"][QUEUE], job["spec"]["suspend"]) == ("night", True)
    assert read("service", "chat-ranks")["spec"]["clusterIP"] == "None"
    as_kueue = ("--field-manager=kueue", "--type=merge")
    wait("queued", lambda: condition("TrainingHealthy").get("reason") == "Queued", 20)
    assert "queue night" in condition("TrainingHealthy")["message"]
    tolerations = [{"key": "spot", "operator": "Exists"}, {"key": "gpu", "operator": "Exists"}]
    flavor = {"nodeSelector": {"pool": "spot"}, "tolerations": tolerations}
    patch("job", "chat-trainer", {"spec": {"template": {"spec": flavor}}}, *as_kueue)
    patch("job", "chat-trainer", {"spec": {"suspend": False}}, *as_kueue)
    wait("admitted", lambda: condition("TrainingHealthy").get("reason") == "TrainerStarting", 20)
    # What has to be applied again for another reason is taken, and leaves all of that.
    patch("job", "chat-trainer", {"metadata": {"annotations": {"aurora-operator.io/applied": "x"}}}, *as_kueue)

    def applied():
        return trainer()["metadata"]["annotations"]["aurora-operator.io/applied"] != "x"

    wait("applied", applied, 20)
    now = trainer()
    assert now["metadata"]["uid"] == job["metadata"]["uid"]
    assert now["spec"]["suspend"] is False
    assert now["spec"]["template"]["spec"].items() >= flavor.items()
    assert condition("Degraded")["reason"] == "AsExpected"


@pytest.mark.usefixtures("operator")
def test_a_suspended_trainer_leaves_its_queue_and_comes_back_as_a_job_that_queues_again():
    before = trainer()["metadata"]["uid"]
    desire(suspend=True)
    wait("gone", lambda: read("job", "chat-trainer") is None, 20)
    wait("suspended", lambda: condition("TrainingHealthy").get("reason") == "Suspended", 20)
    desire(suspend=False)
    wait("back", lambda: trainer()["metadata"]["uid"] not in {"", before}, 20)
    assert (trainer()["metadata"]["labels"][QUEUE], trainer()["spec"]["suspend"]) == ("night", True)


@pytest.mark.usefixtures("operator")
def test_another_number_of_nodes_is_another_job_and_one_has_no_service():
    before = trainer()["metadata"]["uid"]
    desire(training={"nodes": 3})
    wait("three", lambda: trainer()["spec"].get("completions") == 3, 20)
    assert trainer()["metadata"]["uid"] != before
    wait("reported", lambda: read("specdep", "chat")["status"]["training"].get("ranks") == 3, 20)
    desire(training={"nodes": 1, "queueName": None})
    wait("one", lambda: trainer()["spec"].get("completionMode") == "NonIndexed", 20)
    wait("no service", lambda: read("service", "chat-ranks") is None, 20)
    assert QUEUE not in trainer()["metadata"]["labels"]
    assert condition("Degraded")["reason"] == "AsExpected"


def test_a_suspended_job_of_nobody_s_queue_is_not_started(operator):
    patch("job", "chat-trainer", {"spec": {"suspend": True}}, "--type=merge")
    wait("reported", lambda: condition("TrainingHealthy").get("reason") == "Queued", 20)
    assert "by another client" in condition("TrainingHealthy")["message"]
    before = operator.metric("aurora_operator_reconcile_seconds_count")
    wait("reconciles", lambda: operator.metric("aurora_operator_reconcile_seconds_count") > before + 1, 40)
    assert trainer()["spec"]["suspend"] is True
