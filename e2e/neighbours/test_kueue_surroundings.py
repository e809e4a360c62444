"""Kueue itself where it takes more than the trainer: a default queue, Jobs without one, MultiKueue, Ray clusters."""

import json
import secrets

import pytest
import yaml
from host import build, wait
from kueue_support import QUEUE, QUEUES, RESOURCE, Queueing, apply
from neighbour_support import kubectl, tried
from workshop.build import KUBERAY

MULTIKUEUE = "kueue.x-k8s.io/multikueue"
ELSEWHERE = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: AdmissionCheck
metadata: {name: elsewhere}
spec:
  controllerName: kueue.x-k8s.io/multikueue
  parameters: {apiGroup: kueue.x-k8s.io, kind: MultiKueueConfig, name: elsewhere}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: MultiKueueConfig
metadata: {name: elsewhere}
spec: {clusters: [worker]}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: MultiKueueCluster
metadata: {name: worker}
spec: {clusterSource: {kubeConfig: {locationType: Secret, location: worker}}}
"""


def changed(text, **spec):
    """A resource with parts of its spec replaced."""
    body = yaml.safe_load(text)
    return json.dumps(body | {"spec": body["spec"] | spec})


def without_queue(text):
    """A resource whose trainer names no queue."""
    training = yaml.safe_load(text)["spec"]["training"]
    return changed(text, training={name: value for name, value in training.items() if name != "queueName"})


@pytest.fixture
def space(kueue):
    """A namespace with the page's queues in it."""
    assert kueue
    name = f"kueue-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    bodies = list(yaml.safe_load_all(QUEUES))
    bodies[-1]["metadata"]["namespace"] = name
    apply(yaml.safe_dump_all(bodies))
    wait("its account", lambda: tried("get", "serviceaccount", "default", "-n", name).returncode == 0, 60)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def local_queue(space, name):
    """Another queue of the same quota."""
    metadata = {"name": name, "namespace": space}
    body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "LocalQueue", "metadata": metadata}
    apply(json.dumps(body | {"spec": {"clusterQueue": "training"}}))


def test_a_queue_named_default_takes_jobs_and_engines_and_nothing_is_undone(space, tmp_path):
    local_queue(space, "default")
    chat = Queueing.start(space, tmp_path, without_queue(RESOURCE))
    try:
        chat.prepared()
        wait("a trainer", lambda: chat.read("job", "chat-trainer"), 60)
        chat.admitted()
        pods = wait("an engine's pod", lambda: chat.pods("engine"), 60)
        found = {kind: chat.read(kind, name)["metadata"]["labels"].get(QUEUE) for kind, name in (
            ("job", "chat-trainer"), ("deployment", "chat-engine"))}  # fmt: skip
        print("   queues", found, "gates", pods[0]["spec"].get("schedulingGates"))
        print("   workloads", [one["metadata"]["name"] for one in chat.items("workloads")])
        chat.rests("a default queue")
        print("   ", *(chat.condition(kind).get("reason") for kind in ("Degraded", "TrainingHealthy", "Available")))
        assert found["job"] == "default"
    finally:
        chat.stop()


def test_jobs_without_a_queue_wait_for_one_that_the_label_gives(kueue, space, tmp_path):
    kueue.stop()
    selector = {"matchLabels": {"kubernetes.io/metadata.name": space}}
    kueue.start(manageJobsWithoutQueueName=True, managedJobsNamespaceSelector=selector)
    try:
        chat = Queueing.start(space, tmp_path, RESOURCE)
        try:
            message = wait("reported", lambda: message_with(chat, "Available", "suspended by another client"), 60)
            print("   ", message)
            assert "job chat-init is suspended by another client" in message
            chat.rests("an init Job in no queue")
            chat.kubectl("label", "job", "chat-init", f"{QUEUE}=night")
            chat.prepared()
            wait("a trainer", lambda: chat.read("job", "chat-trainer"), 60)
            chat.admitted()
            pods = wait("an engine's pod", lambda: chat.pods("engine"), 60)
            print("   gates", pods[0]["spec"].get("schedulingGates"), chat.condition("Available"))
            chat.rests("a labelled init Job")
            assert chat.read("job", "chat-init")["metadata"]["labels"][QUEUE] == "night"
        finally:
            chat.stop()
    finally:
        kueue.stop()
        kueue.start()


def message_with(chat, kind, words):
    message = chat.condition(kind).get("message", "")
    return message if words in message else ""


def test_a_trainer_of_another_cluster_stays_multikueue_s(space, tmp_path):
    apply(ELSEWHERE)
    strategy = {"admissionChecksStrategy": {"admissionChecks": [{"name": "elsewhere"}]}}
    queue = json.loads(kubectl("get", "clusterqueue", "training", "-o", "json"))
    spec = {name: value for name, value in queue["spec"].items() if name != "admissionChecksStrategy"}
    other = {"apiVersion": queue["apiVersion"], "kind": "ClusterQueue", "metadata": {"name": "far"}}
    apply(json.dumps(other | {"spec": spec | strategy}))
    apply(json.dumps({"apiVersion": queue["apiVersion"], "kind": "LocalQueue", "metadata": {"name": "far"} | {
        "namespace": space}, "spec": {"clusterQueue": "far"}}))  # fmt: skip
    training = yaml.safe_load(RESOURCE)["spec"]["training"] | {"queueName": "far"}
    chat = Queueing.start(space, tmp_path, changed(RESOURCE, training=training))
    try:
        chat.prepared()
        job = wait("a trainer", lambda: chat.read("job", "chat-trainer"), 60)
        assert job["spec"]["managedBy"] == MULTIKUEUE
        message = chat.reported("TrainingHealthy", "Queued")
        print("   ", message)
        chat.rests("of another cluster")
        chat.kubectl("annotate", "--overwrite", "job", "chat-trainer", "aurora-operator.io/applied=x")
        applied = "aurora-operator.io/applied"
        wait("applied", lambda: chat.trainer()["metadata"]["annotations"][applied] != "x", 60)
        assert chat.trainer()["spec"] == job["spec"]
    finally:
        chat.stop()
        kubectl("delete", "clusterqueue", "far", "--wait=false")


@pytest.fixture
def kuberay():
    """KubeRay's definitions."""
    folder = build("KubeRay", 60, KUBERAY)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", f"{folder}/crd")
    command = ("wait", "--for=condition=Established", "crd/rayclusters.ray.io", "--timeout=5s")
    wait("KubeRay's CRDs", lambda: tried(*command).returncode == 0, 60)
    return folder


@pytest.mark.usefixtures("kuberay")
def test_a_ray_cluster_is_one_workload_that_a_change_of_its_size_queues_again(kueue, space, tmp_path):
    kueue.stop()
    kueue.start()
    chat = Queueing.start(space, tmp_path, changed(RESOURCE, mode="Online", samples={"transport": "Ray"}))

    def cluster():
        return chat.read("raycluster", "chat-ray") or {"metadata": {}, "spec": {}}

    def admitted(replicas):
        def is_so():
            spec = cluster()["spec"]
            sizes = [group["replicas"] for group in spec.get("workerGroupSpecs", [])]
            return spec.get("suspend") is False and sizes == replicas

        wait("admitted", is_so, 90, state=lambda: (cluster()["spec"].get("suspend"), chat.items("workloads")))

    try:
        chat.prepared()
        admitted([1, 1])
        made = cluster()
        assert made["metadata"]["labels"][QUEUE] == "night"
        assert len(chat.items("workloads")) == 1
        chat.reported("RayReady", "HeadStarting")
        chat.rests("a Ray cluster")
        chat.desire(serving={"replicas": 2})
        admitted([2, 1])
        chat.rests("two engines")
        chat.desire(suspend=True)
        admitted([2, 0])
        chat.rests("no trainer")
        assert cluster()["metadata"]["uid"] == made["metadata"]["uid"]
        assert len(chat.items("workloads")) == 1
        kubectl("patch", "clusterqueue", "training", "--type=merge", "-p", '{"spec":{"stopPolicy":"HoldAndDrain"}}')
        message = chat.reported("RayReady", "Queued")
        assert "waits in queue night" in message
        chat.rests("drained")
        kubectl("patch", "clusterqueue", "training", "--type=merge", "-p", '{"spec":{"stopPolicy":"None"}}')
        admitted([2, 0])
    finally:
        chat.stop()
