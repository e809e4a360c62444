"""Trainers of several GPUs and pods: what is rendered, and what is reported of them."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from aurora_core.protocol.trainer import LOST_RANK
from aurora_operator.cli import messages
from aurora_operator.reconcile.plan import plan
from aurora_operator.render import ranks, training
from aurora_operator.render.identity import COMPONENT, Resource
from aurora_operator.render.network import NetworkPeers, policies
from operator_support import IMAGES, NOW, a_snapshot, a_spec, having, reported, settled

READY = {"type": "Ready", "status": "True"}
GROUPS = [{"nodes": 2}, {"gpus": 4}, {"nodes": 3, "gpus": 2}, {"nodes": 2, "device": "cpu"}]


def a_resource(training=None, **spec):
    return Resource("chat", "ns", "u-1", a_spec(training=training or {}, **spec))


def a_job(training_spec=None, **spec):
    return training.trainer_job(a_resource(training_spec, **spec), IMAGES, "stamp")


def trainer_of(job):
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


def test_one_rank_is_rendered_as_it_was_before_there_could_be_several():
    job = a_job({"gpus": 1, "nodes": 1})
    job["spec"]["template"]["metadata"]["annotations"].pop("aurora-operator.io/config")
    kept = (Path(__file__).parent / "one_rank.json").read_text()
    assert json.dumps(job, indent=1) + "\n" == kept
    assert ranks.service(a_resource()) is None


@pytest.mark.parametrize("group", GROUPS)
def test_each_pod_has_its_index_its_gpus_and_the_first_one_s_name(group):
    nodes, gpus = group.get("nodes", 1), group.get("gpus", 1)
    job, service = a_job(group), ranks.service(a_resource(group))
    spec, pod, container = job["spec"], job["spec"]["template"]["spec"], trainer_of(job)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", nodes, nodes)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["backoffLimit"] == a_job()["spec"]["backoffLimit"]
    given = dict(zip(container["args"][:-1:2], container["args"][1::2], strict=False))
    assert container["command"] == ["torchrun"]
    assert (given["--nnodes"], given["--nproc-per-node"]) == (str(nodes), str(gpus))
    assert given["--node-rank"] == "$(JOB_COMPLETION_INDEX)"
    assert given["--master-addr"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert given["--master-port"] == str(service["spec"]["ports"][0]["port"])
    at = container["args"].index("--no-python")
    assert container["args"][at + 1 :] == ["aurora-core", *trainer_of(a_job())["args"]]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    limits = {} if group.get("device") == "cpu" else {"limits": {"nvidia.com/gpu": str(gpus)}}
    assert container["resources"] == limits


def test_ranks_have_the_pod_s_own_time_to_end():
    def timeout(job):
        arguments = trainer_of(job)["args"]
        return arguments[arguments.index("--shutdown-timeout") + 1]

    assert timeout(a_job({"nodes": 2})) == "50"
    template = {"spec": {"terminationGracePeriodSeconds": 300}}
    assert timeout(a_job({"nodes": 2, "podTemplate": template})) == "290"


def test_samples_go_to_the_first_pod_alone():
    mooncake = {"transport": "Mooncake", "mooncakeMaster": "m:1", "mooncakeMetadata": "http://m"}
    one, two = (training.trainer_service(a_resource({"nodes": n}, samples=mooncake)) for n in (1, 2))
    assert ranks.INDEX not in one["spec"]["selector"]
    assert two["spec"]["selector"][ranks.INDEX] == "0"


def test_trainer_pods_reach_each_other_and_nobody_else_reaches_them():
    monitoring = {"namespaceSelector": {"matchLabels": {"a": "m"}}}
    peers = NetworkPeers(operator=(monitoring,), monitoring=(monitoring,))

    def rules(group):
        made = policies(a_resource(group), peers)
        return {body["metadata"]["name"]: body["spec"] for body in made}

    one, two = rules({}), rules({"nodes": 2})
    own = {"podSelector": {"matchLabels": a_resource().selector("trainer")}}
    assert two["chat-trainer"]["ingress"] == [*one["chat-trainer"]["ingress"], {"from": [own]}]
    assert two["chat-trainer"]["egress"] == [*one["chat-trainer"]["egress"], {"to": [own]}]
    assert {name: two[name] for name in ("chat-engine", "chat-init")} == {
        name: one[name] for name in ("chat-engine", "chat-init")
    }


def test_another_number_of_ranks_is_another_job_and_one_rank_needs_no_service():
    two, one = a_spec(training={"nodes": 2}), a_spec()
    snapshot, children = settled(two)
    assert ("Service", "chat-ranks") in {(c["kind"], c["metadata"]["name"]) for c in children}
    todo = plan(a_snapshot(a_spec(training={"nodes": 3}), pods=snapshot.pods, children=children))
    assert [name for _, _, name in todo.delete] == ["chat-trainer"]
    todo = plan(a_snapshot(one, pods=snapshot.pods, children=children))
    assert [name for _, _, name in todo.delete] == ["chat-trainer", "chat-ranks"]


def test_a_group_ends_with_its_job_and_not_with_one_of_its_pods():
    spec = a_spec(training={"nodes": 2, "hyperparameters": {"numTrainSteps": 8}})
    _, children = settled(spec)
    more = {"spec": spec, "children": having(children, "chat-trainer", succeeded=1)}
    assert reported("TrainingHealthy", **more)[0] == "TrainerStarting"
    done = [{"type": "Complete", "status": "True"}]
    more["children"] = having(children, "chat-trainer", succeeded=1, conditions=done)
    assert reported("TrainingHealthy", **more)[0] == "Completed"
    # Without an end, a pod that ended as if there were one is made again with all others.
    endless = a_spec(training={"nodes": 2})
    snapshot, children = settled(endless)
    todo = plan(a_snapshot(endless, pods=snapshot.pods, children=having(children, "chat-trainer", succeeded=1)))
    assert [name for _, _, name in todo.delete] == ["chat-trainer"]


def a_pod(index, message="", *, ready=True):
    began = (NOW - timedelta(minutes=9)).isoformat()
    process = {"name": "trainer", "restartCount": 0, "state": {"running": {"startedAt": began}}}
    if message:
        last = {"exitCode": 1, "message": message, "startedAt": began, "finishedAt": NOW.isoformat()}
        process |= {"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        process["lastState"] = {"terminated": last}
    status = {"conditions": [READY] if ready and not message else [], "containerStatuses": [process]}
    return {"metadata": {"name": f"chat-trainer-{index}-x", "labels": {COMPONENT: "trainer"}}, "status": status}


LOST = f"aurora-core: rank 0 {LOST_RANK} 2 ranks: Connection closed by peer"


@pytest.mark.parametrize(
    ("pods", "seen"),
    [
        ([a_pod(0), a_pod(1)], ("Running", "2 trainer pods are running")),
        ([a_pod(0), a_pod(1, ready=False)], ("TrainerStarting", "1 of 2 trainer pods are running")),
        ([a_pod(0)], ("TrainerFailing", "job chat-trainer cannot make 1 of its 2 pods: ")),
        ([a_pod(0, LOST), a_pod(1, "no memory")], ("TrainerFailing", "chat-trainer-1-x/trainer ended with 1: no mem")),
        ([a_pod(0, LOST), a_pod(1, LOST)], ("TrainerFailing", "chat-trainer-0-x/trainer ended with 1: aurora-core: ")),
    ],
)
def test_training_is_healthy_where_all_pods_run_and_names_the_one_that_fell_first(pods, seen):
    spec = a_spec(training={"nodes": 2})
    _, children = settled(spec)
    children = having(children, "chat-trainer", startTime=(NOW - timedelta(hours=1)).isoformat())
    reason, message = reported("TrainingHealthy", spec=spec, children=children, trainer_pods=tuple(pods))
    assert (reason, message[: len(seen[1])]) == seen


def test_the_status_says_how_many_ranks_there_are():
    spec = a_spec(training={"nodes": 2, "gpus": 4})
    _, children = settled(spec)
    snapshot = a_snapshot(spec, children=children, trainer_pods=(a_pod(0), a_pod(1, ready=False)))
    found = plan(snapshot).status["training"]
    assert (found["ranks"], found["ready"]) == (8, 4)
    status = snapshot.status.model_copy(
        update={"training": snapshot.status.training.model_copy(update={"ranks": 8, "ready": 4})}
    )
    assert dict(messages.overview("chat", spec, status, NOW))["training"].endswith("4 of 8 ranks are ready")
