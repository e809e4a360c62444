"""Mode Online: the RayCluster that is rendered, who may reach its pods, and what is reported of it."""

import copy
import json
import shlex
import subprocess

import pytest
import yaml
from aurora_operator.reconcile.ownership import made_by
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import key
from aurora_operator.render import ray, serving
from aurora_operator.render.config import config_map
from aurora_operator.render.identity import Resource
from aurora_operator.render.network import NetworkPeers, policies
from aurora_operator.render.pods import CONFIGURED
from aurora_operator.render.training import QUEUE
from operator_support import IMAGES, a_snapshot, a_spec, reported, settled
from ray_support import AT, a_resource, online


def a_cluster(**spec):
    return ray.cluster(a_resource(**spec), IMAGES, "stamp")


def groups(cluster):
    spec = cluster["spec"]
    return {"head": spec["headGroupSpec"]} | {group["groupName"]: group for group in spec["workerGroupSpecs"]}


def containers(group):
    return {one["name"]: one for one in group["template"]["spec"]["containers"]}


def test_every_pod_of_ray_is_as_confined_as_all_others_and_has_no_dashboard():
    for name, group in groups(a_cluster()).items():
        pod = group["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        env = {one["name"]: one for one in pod["containers"][0]["env"]}
        assert env["RAY_AUTH_MODE"]["value"] == "token"
        assert env["RAY_worker_niceness"]["value"] == "0"
        assert env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "chat-keys", "key": "samples"}
        # KubeRay's own probes need wget and the dashboard.
        assert {"readinessProbe", "livenessProbe"} <= pod["containers"][0].keys(), name
    assert groups(a_cluster())["head"]["rayStartParams"]["include-dashboard"] == "false"


def test_an_engine_pod_is_that_of_a_deployment_but_for_who_starts_the_process():
    spec = {"serving": {"replicas": 3, "podTemplate": {"spec": {"nodeSelector": {"gpu": "h100"}}}}}
    resource = a_resource(**spec)
    mine = groups(ray.cluster(resource, IMAGES, "stamp"))["engines"]
    theirs = serving.deployment(resource, IMAGES, "stamp")["spec"]
    assert mine["replicas"] == theirs["replicas"] == 3
    annotations, expected = (one["template"]["metadata"]["annotations"] for one in (mine, theirs))
    # The driver follows the configuration.
    assert annotations == {name: value for name, value in expected.items() if name != CONFIGURED}
    assert mine["template"]["metadata"]["labels"] == theirs["template"]["metadata"]["labels"]
    pod, plain = mine["template"]["spec"], theirs["template"]["spec"]
    assert {k: v for k, v in pod.items() if k != "containers"} == {k: v for k, v in plain.items() if k != "containers"}
    (engine, agent), (before, same) = pod["containers"], plain["containers"]
    assert agent == same
    for kept in ("image", "resources", "startupProbe", "readinessProbe", "livenessProbe", "volumeMounts"):
        assert engine[kept] == before[kept]
    assert engine["ports"][: len(before["ports"])] == before["ports"]
    assert engine["env"][: len(before["env"])] == before["env"]
    assert engine["args"] == ["ulimit -n 65536 2> /dev/null; eval exec $KUBERAY_GEN_RAY_START_CMD"]
    assert a_cluster()["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"


def test_an_engine_answers_what_it_has_before_its_node_of_ray_ends(tmp_path):
    """The hook as it is rendered, but for its folder and its wait; the engine here takes a second to end."""
    (engine, _) = groups(a_cluster())["engines"]["template"]["spec"]["containers"]
    shell, option, script = engine["lifecycle"]["preStop"]["exec"]["command"]
    assert "/run/aurora/engine/*/engine.pid" in script
    assert script.startswith("sleep 5\n")
    here = script.replace("/run/aurora/engine", str(tmp_path)).removeprefix("sleep 5\n")
    drains = "trap 'sleep 1; echo answered; exit' TERM; echo up; while :; do sleep 0.1; done"
    with subprocess.Popen(["/bin/bash", "-c", drains], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        (tmp_path / "engine-0").mkdir()
        (tmp_path / "engine-0" / "engine.pid").write_text(str(process.pid))
        subprocess.run([shell, option, here], check=False, timeout=60)
        assert process.stdout.readline() == "answered\n"
    subprocess.run([shell, option, here], check=False, timeout=60)


def test_each_node_has_what_its_actor_asks_for_and_the_head_nothing():
    found = groups(a_cluster())
    assert found["head"]["rayStartParams"]["num-cpus"] == "0"
    assert "resources" not in found["head"]["rayStartParams"]
    for name, resource in (("engines", "aurora_engine"), ("trainer", "aurora_trainer")):
        # As a shell reads it, which KubeRay has it read by.
        (given,) = shlex.split(found[name]["rayStartParams"]["resources"])
        assert json.loads(given) == {resource: 1}


def test_a_trainer_node_takes_as_many_ranks_as_it_has_gpus_and_they_reach_each_other():
    resource = a_resource(training={"nodes": 2, "gpus": 4})
    trainers = groups(ray.cluster(resource, IMAGES, "stamp"))["trainer"]
    assert trainers["replicas"] == 2
    assert trainers["rayStartParams"]["num-cpus"] == "4"
    assert json.loads(shlex.split(trainers["rayStartParams"]["resources"])[0]) == {"aurora_trainer": 4}
    [trainer] = [one for one in trainers["template"]["spec"]["containers"] if one["name"] == "trainer"]
    assert trainer["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert yaml.safe_load(config_map(resource)["data"]["online.yaml"])["online"]["trainers"] == 8
    policy = next(
        one
        for one in policies(resource, NetworkPeers(operator=({"podSelector": {}},)))
        if one["metadata"]["name"] == resource.trainer
    )
    mine = [{"podSelector": {"matchLabels": resource.selector("trainer")}}]
    assert {"from": mine} in policy["spec"]["ingress"]
    assert {"to": mine} in policy["spec"]["egress"]


def test_the_driver_finds_its_node_and_reads_the_full_configuration():
    resource = a_resource(serving={"replicas": 2})
    head = groups(ray.cluster(resource, IMAGES, "stamp"))["head"]["template"]
    driver = containers({"template": head})["driver"]
    assert head["spec"]["shareProcessNamespace"] is True
    assert driver["args"][:5] == ["online", "--address", "auto", "--agents", "sidecar"]
    path = driver["args"][driver["args"].index("--config") + 1]
    part = yaml.safe_load(config_map(resource)["data"][path.rsplit("/", 1)[1]])
    assert part["online"]["engines"] == 2
    assert {"serving", "training", "samples", "weights"} <= part.keys()
    assert "online.yaml" not in config_map(Resource("chat", "ns", "u-1", a_spec()))["data"]


def test_only_nodes_of_ray_reach_ray_and_nobody_reaches_the_head_else():
    monitoring = {"namespaceSelector": {"matchLabels": {"a": "m"}}}
    peers = NetworkPeers(operator=(monitoring,), monitoring=(monitoring,))
    made = {body["metadata"]["name"]: body["spec"] for body in policies(a_resource(), peers)}
    inside = {"podSelector": {"matchLabels": a_resource().everything}}
    ports = [{"port": ray.GCS, "endPort": ray.LAST_PORT, "protocol": "TCP"}]
    assert made["chat-ray"]["ingress"] == [{"from": [inside], "ports": ports}]
    for name in ("chat-engine", "chat-trainer"):
        assert {"from": [inside], "ports": ports} in made[name]["ingress"]
        assert {"to": [inside], "ports": ports} in made[name]["egress"]
    used = {v for g in groups(a_cluster()).values() for k, v in g["rayStartParams"].items() if k.endswith("port")}
    assert {int(port) for port in used} <= set(range(ray.GCS, ray.LAST_PORT + 1))
    assert "chat-ray" not in {b["metadata"]["name"] for b in policies(Resource("chat", "ns", "u-1", a_spec()), peers)}


def test_a_ray_cluster_takes_the_place_of_deployment_and_trainer_job():
    _, children = settled(online(serving={"replicas": 2}))
    found = {(child["kind"], child["metadata"]["name"]) for child in children}
    assert {("RayCluster", "chat-ray"), ("Service", "chat"), ("Job", "chat-init")} <= found
    assert not {("Deployment", "chat-engine"), ("Job", "chat-trainer")} & found
    (budget,) = (child for child in children if child["kind"] == "PodDisruptionBudget")
    # Kubernetes knows no number of replicas of pods that a RayCluster made.
    assert budget["spec"]["minAvailable"] == 1
    (cluster,) = (child for child in children if child["kind"] == "RayCluster")
    cluster["metadata"]["uid"] = "ray"
    assert "ray" in made_by(a_resource(), {key(child): child for child in children}, [])


def test_suspending_takes_the_trainer_s_pod_and_leaves_what_serves():
    snapshot, children = settled(online())
    todo = plan(a_snapshot(online(suspend=True), pods=snapshot.pods, children=children))
    assert todo.delete == ()
    (cluster,) = (body for body in todo.apply if body["kind"] == "RayCluster")
    assert {name: group.get("replicas") for name, group in groups(cluster).items()} == {
        "head": None, "engines": 1, "trainer": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"training": {"hyperparameters": {"lr": 0.1}}}, {"draft": {"numSteps": 2, "numDraftTokens": 3}}]
)
def test_the_driver_follows_the_configuration_and_no_pod_is_made_again(change):
    snapshot, children = settled(online())
    todo = plan(a_snapshot(online(**change), pods=snapshot.pods, children=children))
    assert (todo.delete, [body["metadata"]["name"] for body in todo.apply]) == ((), ["chat-config"])


def test_another_number_of_engines_is_the_same_cluster():
    snapshot, children = settled(online())
    todo = plan(a_snapshot(online(serving={"replicas": 3}), pods=snapshot.pods, children=children))
    (cluster,) = (body for body in todo.apply if body["kind"] == "RayCluster")
    assert (todo.delete, groups(cluster)["engines"]["replicas"]) == ((), 3)


@pytest.mark.parametrize(
    "change", [{"serving": {"image": "other:1"}}, {"training": {"resources": {"limits": {"memory": "1Gi"}}}}]
)
def test_other_pods_are_another_cluster(change):
    snapshot, children = settled(online())
    todo = plan(a_snapshot(online(**change), pods=snapshot.pods, children=children))
    assert AT in todo.delete


def test_what_a_queue_writes_into_the_cluster_stays():
    spec = online(training={"queueName": "night"})
    snapshot, children = settled(spec)
    (cluster,) = (child for child in children if child["kind"] == "RayCluster")
    assert cluster["metadata"]["labels"][QUEUE] == "night"
    # Kueue suspends it, and says in the templates where pods run: the list of groups is then its field.
    placed = copy.deepcopy(cluster)
    placed["spec"]["suspend"] = True
    for group in placed["spec"]["workerGroupSpecs"]:
        group["template"]["spec"]["nodeSelector"] = {"pool": "spot"}
    fields = placed["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    del fields["f:workerGroupSpecs"]
    children = [child for child in children if child["kind"] != "RayCluster"] + [placed]
    assert plan(a_snapshot(spec, pods=snapshot.pods, children=children)).apply == ()
    reason, message = reported("RayReady", spec=spec, children=children)
    assert (reason, "queue night" in message) == ("Queued", True)
    # What has to be applied for another reason keeps that.
    todo = plan(a_snapshot(spec.model_copy(update={"suspend": True}), pods=snapshot.pods, children=children))
    (body,) = (body for body in todo.apply if body["kind"] == "RayCluster")
    assert "suspend" not in body["spec"]
    assert groups(body)["engines"]["template"]["spec"]["nodeSelector"] == {"pool": "spot"}
    assert groups(body)["trainer"]["replicas"] == 0
