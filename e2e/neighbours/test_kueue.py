"""Kueue itself with the operator: what its page says, with its own chart, webhooks, rights and scheduler.

Not among the checks of `make test`: ``kueue.sh`` builds Kueue of its Go module and runs this, with root, from a clone.
Kubernetes' own controllers run, and neither a scheduler nor a kubelet: what a pod does is written by the test.
"""

import pytest
import yaml
from host import wait
from kueue_support import FLAVOR, QUEUE, QUEUES, RESOURCE, Queueing, apply, quota, used
from neighbour_support import kubectl

URGENT = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: urgent}
value: 1000
---
apiVersion: batch/v1
kind: Job
metadata:
  name: urgent
  labels: {kueue.x-k8s.io/queue-name: night, kueue.x-k8s.io/priority-class: urgent}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: none/urgent
          resources: {requests: {cpu: "60"}}
"""


@pytest.fixture(scope="module")
def chat(kueue, tmp_path_factory):
    """The page's queues and its resource; the flavor has nodes of its own, and no GPUs yet."""
    assert kueue
    flavor, *queues = yaml.safe_load_all(QUEUES)
    apply(yaml.safe_dump_all([flavor | {"spec": FLAVOR}, *queues]))
    quota("nvidia.com/gpu", 0)
    made = Queueing.start("default", tmp_path_factory.mktemp("operator"), RESOURCE)
    made.prepared()
    wait("a trainer", lambda: made.read("job", "chat-trainer"), 60)
    yield made
    made.stop()


def test_without_quota_the_trainer_waits_and_serving_does_not(chat):
    job = chat.queued()
    assert job["metadata"]["labels"][QUEUE] == "night"
    pods = wait("an engine's pod", lambda: chat.pods("engine"), 60)
    assert "schedulingGates" not in pods[0]["spec"]
    workloads = chat.items("workloads")
    print("   workloads", [one["metadata"]["name"] for one in workloads])
    assert [one["metadata"]["ownerReferences"][0]["name"] for one in workloads] == ["chat-trainer"]
    pending = next(c for c in workloads[0]["status"]["conditions"] if c["type"] == "QuotaReserved")
    print("   ", pending["reason"], pending["message"])
    assert "nvidia.com/gpu" in pending["message"]
    chat.rests("queued")


def test_with_quota_it_is_admitted_where_the_flavor_says_and_nothing_is_undone(chat):
    before = chat.trainer()
    quota("nvidia.com/gpu", 8)
    job = chat.admitted()
    assert job["metadata"]["uid"] == before["metadata"]["uid"]
    pods = job["spec"]["template"]["spec"]
    assert pods["nodeSelector"] == FLAVOR["nodeLabels"]
    assert [one["key"] for one in pods["tolerations"]] == ["spot"]
    wait("used", lambda: used("nvidia.com/gpu") == "1", 60)
    chat.rests("admitted")
    # What has to be applied again for another reason is taken, and leaves all of that.
    chat.kubectl("annotate", "--overwrite", "job", "chat-trainer", "aurora-operator.io/applied=x")
    wait("applied", lambda: chat.trainer()["metadata"]["annotations"]["aurora-operator.io/applied"] != "x", 60)
    assert chat.trainer()["spec"] == job["spec"]
    assert chat.condition("Degraded")["reason"] == "AsExpected"


def test_a_workload_of_higher_priority_takes_its_turn_and_gives_it_back(chat):
    uid = chat.trainer()["metadata"]["uid"]
    apply(URGENT)
    chat.queued()
    wait("the other one runs", lambda: chat.read("job", "urgent")["spec"]["suspend"] is False, 60)
    wait("no pod of the trainer", lambda: not chat.pods("trainer"), 60)
    workloads = {one["metadata"]["ownerReferences"][0]["name"]: one for one in chat.items("workloads")}
    evicted = next(c for c in workloads["chat-trainer"]["status"]["conditions"] if c["type"] == "Evicted")
    print("   ", evicted["reason"], evicted["message"])
    assert "nodeSelector" not in chat.trainer()["spec"]["template"]["spec"]
    chat.rests("preempted")
    chat.kubectl("delete", "job", "urgent")
    assert chat.admitted()["metadata"]["uid"] == uid
    chat.rests("admitted again")


def test_a_change_of_the_trainer_is_another_job_that_queues_again(chat):
    before = chat.trainer()["metadata"]["uid"]
    chat.desire(training={"resources": {"requests": {"cpu": "4"}}})
    wait("another", lambda: chat.trainer()["metadata"]["uid"] not in {"", before}, 60)
    chat.admitted()
    wait("its quota", lambda: used("cpu") == "4", 60)
    assert len(chat.items("workloads")) == 1
    chat.rests("changed")


def test_suspending_gives_the_quota_back_and_resuming_queues_again(chat):
    chat.desire(suspend=True)
    wait("gone", lambda: chat.read("job", "chat-trainer") is None, 60)
    wait("nothing used", lambda: used("nvidia.com/gpu") == "0", 60)
    chat.reported("TrainingHealthy", "Suspended")
    chat.rests("suspended")
    chat.desire(suspend=False)
    chat.admitted()
    wait("used", lambda: used("nvidia.com/gpu") == "1", 60)


def test_a_queue_that_stops_and_drains_evicts_it(chat):
    kubectl("patch", "clusterqueue", "training", "--type=merge", "-p", '{"spec":{"stopPolicy":"HoldAndDrain"}}')
    chat.queued()
    chat.rests("drained")
    kubectl("patch", "clusterqueue", "training", "--type=merge", "-p", '{"spec":{"stopPolicy":"None"}}')
    chat.admitted()


def test_a_queue_that_does_not_exist_is_named(chat):
    chat.desire(training={"queueName": "day"})
    wait("reported", lambda: "queue day" in chat.condition("TrainingHealthy").get("message", ""), 60)
    assert chat.condition("TrainingHealthy")["reason"] == "Queued"
    chat.rests("in no queue")
    chat.desire(training={"queueName": "night"})
    chat.admitted()


def test_several_nodes_are_one_workload(chat):
    chat.desire(training={"nodes": 3})
    wait("three", lambda: chat.trainer()["spec"].get("completions") == 3, 60)
    wait("admitted", lambda: chat.trainer()["spec"].get("suspend") is False, 60)
    wait("three GPUs", lambda: used("nvidia.com/gpu") == "3", 60)
    wait("three pods", lambda: len(chat.pods("trainer")) == 3, 60)
    chat.rests("three nodes")
    quota("nvidia.com/gpu", 2)
    chat.desire(suspend=True)
    wait("gone", lambda: chat.read("job", "chat-trainer") is None, 60)
    chat.desire(suspend=False)
    chat.queued()
    assert chat.pods("trainer") == []
    quota("nvidia.com/gpu", 8)
    chat.desire(training={"nodes": 1})
    wait("one", lambda: chat.trainer()["spec"].get("completionMode") == "NonIndexed", 60)
    chat.admitted()


def test_deleting_the_resource_leaves_no_workload_and_no_quota_taken(chat):
    quota("nvidia.com/gpu", 8)
    chat.admitted()
    chat.kubectl("delete", "specdep", "chat")
    wait("no job", lambda: chat.read("job", "chat-trainer") is None, 60)
    wait("no workload", lambda: not chat.items("workloads"), 60)
    wait("nothing used", lambda: used("nvidia.com/gpu") == "0", 60)
