"""From a look at the world to what is done: what is missing is made, what drifted is put back, the rest is left."""

import copy
import dataclasses
from datetime import timedelta

import pytest
import yaml
from aurora_core.config import DeploymentConfig, read
from aurora_core.weights.volume import Volume
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile.drift import HASH
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.world import Problem, key
from aurora_operator.render.identity import COMPONENT, Resource
from conftest import NOW, a_spec, a_world, settled

READY = {"type": "Ready", "status": "True"}


def kinds(bodies):
    return {(body["kind"], body["metadata"]["name"]) for body in bodies}


def test_nothing_serves_before_the_target_is_there():
    made = kinds(plan(a_world()).apply)
    assert made == {
        ("PersistentVolumeClaim", "chat-weights"), ("ConfigMap", "chat-config"), ("ConfigMap", "chat-wanted"),
        ("Secret", "chat-keys"), ("Job", "chat-init"),
    }  # fmt: skip


def test_then_everything_else_is_made_and_then_nothing_more():
    world, children = settled()
    assert ("Deployment", "chat-engine") in kinds(children)
    assert ("Job", "chat-trainer") in kinds(children)
    assert plan(a_world(pods=world.pods, versions=world.versions, children=children)).apply == ()


def test_a_second_look_at_an_unchanged_world_writes_nothing():
    world, children = settled()
    first = plan(a_world(pods=world.pods, versions=world.versions, children=children))
    status = Status.model_validate(first.status)
    second = plan(
        a_world(
            status=status, pods=world.pods, versions=world.versions, children=children, now=NOW + timedelta(hours=1)
        )
    )
    assert (second.apply, second.delete, second.loads, second.status, second.notes) == ((), (), (), None, ())


@pytest.mark.parametrize(
    "path",
    [("spec", "replicas"), ("spec", "template", "spec", "automountServiceAccountToken"), ("metadata", "labels")],
)
def test_what_somebody_changed_is_put_back(path):
    world, children = settled()
    engine = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    inner = engine
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = {"replicas": 7, "automountServiceAccountToken": True, "labels": {}}[path[-1]]
    assert kinds(plan(a_world(pods=world.pods, children=children)).apply) == {("Deployment", "chat-engine")}


def test_what_others_add_is_left_alone():
    world, children = settled()
    engine = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    engine["metadata"]["annotations"]["somebody"] = "else"
    engine["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    engine["spec"]["template"]["spec"]["containers"].append({"name": "mesh"})
    assert plan(a_world(pods=world.pods, children=children)).apply == ()


def test_other_hyperparameters_make_the_trainer_anew_and_leave_serving_alone():
    world, children = settled()
    changed = a_spec(training={"hyperparameters": {"lr": 0.5}})
    todo = plan(a_world(changed, pods=world.pods, children=children))
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
    world, children = settled()
    todo = plan(a_world(a_spec(**change), pods=world.pods, versions=world.versions, children=children))
    templates = {
        body["metadata"]["name"]: body["spec"]["template"] for body in children if "template" in body.get("spec", {})
    }
    applied = {
        body["metadata"]["name"]: body["spec"]["template"] for body in todo.apply if body["kind"] == "Deployment"
    }
    assert any(applied[name] != templates[name] for name in applied) == engines
    assert [name for _, _, name in todo.delete] == ["chat-trainer"] * trainer


def test_a_change_that_is_taken_back_makes_the_trainer_anew_too():
    """What is no longer named is in the Job still, and a Job's template cannot be changed."""
    broken = {"spec": {"containers": [{"name": "trainer", "env": [{"name": "PYTHONHOME", "value": "/nowhere"}]}]}}
    world, children = settled(a_spec(training={"podTemplate": broken}))
    todo = plan(a_world(a_spec(), pods=world.pods, children=children))
    assert [name for _, _, name in todo.delete] == ["chat-trainer"]
    assert kinds(todo.apply) == set()


def having(children, name, **status):
    """The children, one of them with this status."""
    return [c | {"status": status} if c["metadata"]["name"] == name else c for c in children]


def trained(steps):
    return a_spec(training={"hyperparameters": {"numTrainSteps": steps}})


def test_a_trainer_that_took_its_steps_is_done_until_more_are_asked_for():
    world, children = settled(trained(100))
    children = having(children, "chat-trainer", succeeded=1)
    todo = plan(a_world(world.spec, pods=world.pods, children=children))
    assert (todo.delete, todo.apply) == ((), ())
    assert told("TrainingHealthy", spec=world.spec, children=children)[0] == "Completed"
    more = plan(a_world(trained(200), pods=world.pods, children=children))
    assert more.delete == (("batch/v1", "Job", "chat-trainer"),)


def test_a_trainer_without_an_end_that_ended_is_made_anew_and_what_was_fetched_stays():
    world, children = settled()
    todo = plan(a_world(pods=world.pods, children=having(children, "chat-trainer", succeeded=1)))
    assert (todo.delete, todo.apply) == ((("batch/v1", "Job", "chat-trainer"),), ())


def test_what_is_no_longer_wanted_goes():
    two = a_spec(serving={"replicas": 2}, samples={
        "transport": "Mooncake", "mooncakeMaster": "m:1", "mooncakeMetadata": "http://m/metadata"
    })  # fmt: skip
    world, children = settled(two)
    budget, door = ("policy/v1", "PodDisruptionBudget", "chat-engine"), ("v1", "Service", "chat-trainer")
    assert {budget, door} <= {key(child) for child in children}
    assert set(plan(a_world(two, pods=world.pods, children=children)).delete) == set()
    assert {budget, door} <= set(plan(a_world(pods=world.pods, children=children)).delete)
    # While a lost Job is made anew it is not known what is wanted.
    rest = [child for child in children if child["metadata"]["name"] != "chat-init"]
    assert plan(a_world(pods=world.pods, children=rest)).delete == ()


def test_an_object_of_somebody_else_is_left_alone_and_told():
    world, children = settled()
    door, unasked = ("v1", "Service", "chat"), ("v1", "Service", "chat-trainer")
    rest = [child for child in children if key(child) != door]
    todo = plan(a_world(pods=world.pods, children=rest, taken=frozenset({door, unasked})))
    assert (todo.apply, todo.delete) == ((), ())
    told = next(c for c in todo.status["conditions"] if c["type"] == "Degraded")
    assert (told["status"], told["reason"]) == ("True", "NameTaken")
    assert told["message"].startswith("Service ns/chat is somebody else's")


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
    assert resource.owns({"metadata": outlived})
    assert not Resource("code", "ns", "u-2", a_spec()).owns({"metadata": outlived})


def a_pod(component, **status):
    return {"metadata": {"name": f"chat-{component}-x", "labels": {COMPONENT: component}}, "status": status}


def told(kind, **world):
    found = next(c for c in plan(a_world(**world)).status["conditions"] if c["type"] == kind)
    return found["reason"], found["message"]


def a_trainer(fallen_after, running_for):
    """A pod whose process ran so many seconds, fell, and runs again for so many."""
    fell = NOW - timedelta(seconds=running_for + 10)
    last = {"exitCode": 1, "message": "out of memory"} | (
        {}
        if fallen_after is None
        else {"startedAt": (fell - timedelta(seconds=fallen_after)).isoformat(), "finishedAt": fell.isoformat()}
    )
    state = {"running": {"startedAt": (NOW - timedelta(seconds=running_for)).isoformat()}}
    process = {"name": "trainer", "restartCount": 1, "state": state, "lastState": {"terminated": last}}
    return a_pod("trainer", conditions=[READY], containerStatuses=[process])


@pytest.mark.parametrize(
    ("fallen_after", "running_for", "reason"),
    [
        (0, 1, "TrainerFailing"),
        (0, 31, "Running"),
        (100, 99, "TrainerFailing"),
        (100, 131, "Running"),
        (7200, 331, "Running"),
        (None, 1, "TrainerFailing"),
        (None, 31, "Running"),
    ],
)
def test_a_trainer_that_fell_is_well_again_once_it_outlives_its_last_run(fallen_after, running_for, reason):
    world, children = settled()
    pods = (a_trainer(fallen_after, running_for),)
    assert told("TrainingHealthy", pods=world.pods, children=children, trainer_pods=pods)[0] == reason


NO_SECRET = {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "hf" not found'}}}


@pytest.mark.parametrize("at", ["containerStatuses", "initContainerStatuses"])
def test_a_pod_that_waits_for_what_is_not_there_says_for_what(at):
    pod = a_pod("init", **{at: [{"name": "init", **NO_SECRET}]})
    reason, message = told("Available", trainer_pods=(pod,))
    assert (reason, message) == ("Preparing", 'chat-init-x: CreateContainerConfigError: secret "hf" not found')


def test_a_pod_that_was_put_out_says_why_unless_another_is_in_newer_trouble():
    out = a_pod("init", phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    words = "chat-init-x: Evicted: The node was low on resource: memory."
    assert told("Available", trainer_pods=(out,))[1] == words
    waiting = a_pod("init", containerStatuses=[{"name": "init", **NO_SECRET}])
    assert "CreateContainerConfigError" in told("Available", trainer_pods=(out, waiting))[1]


@pytest.mark.parametrize("word", ["ContainerCreating", "PodInitializing"])
def test_a_pod_that_is_on_its_way_is_no_trouble(word):
    pod = a_pod("init", containerStatuses=[{"name": "init", "state": {"waiting": {"reason": word}}}])
    assert told("Available", trainer_pods=(pod,))[1].startswith("the target is being fetched")


@pytest.mark.parametrize(("seconds", "overdue"), [(5, False), (31, True)])
def test_a_job_that_may_not_make_its_pod_is_told(seconds, overdue):
    _, children = settled()
    now = NOW + timedelta(seconds=seconds)
    trainer = having(children, "chat-trainer", startTime="2026-01-01T12:00:00Z")
    words = "job chat-trainer cannot make its pod: kubectl describe job chat-trainer says why"
    assert (told("TrainingHealthy", now=now, children=trainer) == ("TrainerFailing", words)) == overdue
    init = having(children, "chat-init", startTime="2026-01-01T12:00:00Z")
    assert ("job chat-init cannot" in told("Available", now=now, children=init)[1]) == overdue


def test_a_job_that_was_suspended_or_that_no_controller_saw_yet_is_given_its_time():
    _, children = settled()
    now = NOW + timedelta(hours=1)
    suspended = [{"type": "Suspended", "status": "True"}]
    resumed = having(children, "chat-trainer", startTime="2026-01-01T12:00:00Z", conditions=suspended)
    for job in (resumed, children):
        assert told("TrainingHealthy", now=now, children=job)[0] == "TrainerStarting"


def test_engine_pods_that_a_quota_forbids_are_told():
    _, children = settled()
    deployment = next(child for child in children if child["kind"] == "Deployment")
    words = 'pods "chat-engine-1" is forbidden: exceeded quota'
    deployment["status"] = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": words}]}
    assert told("Available", children=children) == ("EngineFailing", words)


def test_suspend_stops_training_and_capture_and_nothing_else():
    world, children = settled()
    todo = plan(a_world(a_spec(suspend=True), pods=world.pods, children=children))
    assert todo.delete == ()
    assert kinds(todo.apply) == {("Job", "chat-trainer")}
    assert todo.apply[0]["spec"]["suspend"] is True
    assert [load.rate for load in todo.loads] == [0.0]


def test_the_sample_rate_changes_in_place():
    world, children = settled()
    todo = plan(a_world(a_spec(samples={"sampleRate": 0.25}), pods=world.pods, children=children))
    assert ("Deployment", "chat-engine") not in kinds(todo.apply)
    assert [load.rate for load in todo.loads] == [0.25]


def test_a_pod_that_serves_something_else_is_told_and_a_silent_one_is_not():
    stable = Status(stable=Stable(version=4, steps=3, since=NOW), judged=4)
    pods = (Pod("a", "x", 2, 3, 1.0), Pod("b", "x", 4, 3, 1.0), Pod("c", "x", problem="silent"))
    todo = plan(a_world(status=stable, pods=pods))
    assert [(load.pod.name, load.version, load.steps) for load in todo.loads] == [("a", 4, 3)]
    degraded = next(c for c in todo.status["conditions"] if c["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "AgentSilent")


def test_a_trial_of_an_older_operator_begins_anew_and_its_status_stays_readable():
    body = Status(stable=Stable(version=4, steps=3, since=NOW), judged=4).model_dump(mode="json", by_alias=True)
    body["candidate"] = {"version": 9, "since": NOW.isoformat(), "looks": 3}
    read = Status.model_validate(body)
    assert (read.candidate, read.stable.version, read.judged) == (None, 4, 4)


def test_what_is_in_use_is_told_to_the_trainer():
    status = Status(
        stable=Stable(version=4, steps=3, since=NOW, previous=2),
        candidate=Candidate(version=9, steps=3, since=NOW),
        judged=4,
    )
    todo = plan(a_world(status=status, pods=(Pod("a", "x", 3, 3, 1.0),)))
    wanted = next(b for b in todo.apply if b["metadata"]["name"] == "chat-wanted")
    assert wanted["data"] == {"version": "4", "steps": "3", "in-use": "2,3,4,9"}


def test_a_retained_claim_has_no_owner_and_everything_else_has():
    _, children = settled()
    owners = {c["metadata"]["name"]: "ownerReferences" in c["metadata"] for c in children}
    assert owners.pop("chat-weights") is False
    assert all(owners.values())
    _, children = settled(a_spec(weights={"onDelete": "Delete"}))
    assert all("ownerReferences" in c["metadata"] for c in children)


def applied(spec, children):
    """What is applied once the spec is another one."""
    world, _ = settled()
    return kinds(plan(a_world(spec, pods=world.pods, versions=world.versions, children=children)).apply)


@pytest.mark.parametrize("weights", [{"template": {"size": "30Gi"}}, {"onDelete": "Delete"}])
def test_a_claim_is_applied_when_its_wish_changes(weights):
    _, children = settled()
    assert applied(a_spec(weights=weights), children) == {("PersistentVolumeClaim", "chat-weights")}


def test_a_claim_that_was_grown_by_hand_stays_so():
    _, children = settled()
    claim = next(c for c in children if c["kind"] == "PersistentVolumeClaim")
    claim["spec"]["resources"]["requests"]["storage"] = "99Gi"
    assert applied(a_spec(), children) == set()


def test_pods_run_as_nobody_with_nothing_to_write_but_volumes():
    _, children = settled()
    for body in children:
        if body["kind"] not in {"Deployment", "Job"}:
            continue
        pod = body["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_gpus_follow_from_the_tensor_parallel_size():
    _, children = settled(a_spec(serving={"tensorParallelSize": 4}))
    engine = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    limits = {c["name"]: c["resources"].get("limits") for c in engine["spec"]["template"]["spec"]["containers"]}
    assert limits == {"engine": {"nvidia.com/gpu": "4"}, "agent": None}


def test_a_pod_template_is_merged_as_kubectl_would():
    template = {
        "spec": {
            "nodeSelector": {"gpu": "h100"},
            "containers": [{"name": "engine", "env": [{"name": "NCCL_DEBUG", "value": "INFO"}]}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
        "metadata": {"labels": {"team": "a", "app.kubernetes.io/instance": "stolen"}},
    }
    _, children = settled(a_spec(serving={"podTemplate": template}))
    pod = next(c for c in children if c["metadata"]["name"] == "chat-engine")["spec"]["template"]
    engine = next(c for c in pod["spec"]["containers"] if c["name"] == "engine")
    assert pod["spec"]["nodeSelector"] == {"gpu": "h100"}
    assert {"NCCL_DEBUG", "AURORA_ADMIN_KEY"} <= {e["name"] for e in engine["env"]}
    assert {"scratch", "data"} <= {v["name"] for v in pod["spec"]["volumes"]}
    assert len(pod["spec"]["containers"]) == 2
    assert pod["metadata"]["labels"]["team"] == "a"
    assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == "chat"


def test_the_init_pod_runs_where_and_as_the_trainer_does_without_its_sidecars_and_gpus():
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    gpu = {"limits": {"nvidia.com/gpu": "8"}}
    template = {
        "metadata": {"annotations": {"team": "a"}},
        "spec": {
            "nodeSelector": {"gpu": "h100"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
            "containers": [{"name": "trainer", "env": [proxy], "resources": gpu}, {"name": "logs", "image": "logs:1"}],
        },
    }
    memory = {"requests": {"memory": "4Gi"}}
    spec = a_spec(training={"podTemplate": template, "resources": memory})
    init = next(b for b in plan(a_world(spec)).apply if b["kind"] == "Job")
    pod = init["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert (init["metadata"]["name"], container["name"], container["resources"]) == ("chat-init", "init", memory)
    assert proxy in container["env"]
    assert {"name": "HOME", "value": "/run/aurora"} in container["env"]
    assert {key: pod["spec"][key] for key in ("nodeSelector", "tolerations", "imagePullSecrets")} == {
        key: template["spec"][key] for key in ("nodeSelector", "tolerations", "imagePullSecrets")
    }
    assert pod["metadata"]["annotations"] == {"team": "a"}
    assert pod["metadata"]["labels"][COMPONENT] == "init"


def test_an_init_job_that_ran_stays_whatever_the_template_becomes():
    world, children = settled()
    spec = a_spec(training={"podTemplate": {"spec": {"nodeSelector": {"gpu": "h100"}}}})
    todo = plan(a_world(spec, pods=world.pods, children=children))
    assert todo.delete == (("batch/v1", "Job", "chat-trainer"),)
    unfinished = having(children, "chat-init", active=1)
    assert ("batch/v1", "Job", "chat-init") in plan(a_world(spec, pods=world.pods, children=unfinished)).delete


def test_the_configuration_is_what_the_processes_read(tmp_path):
    _, children = settled()
    data = next(c for c in children if c["metadata"]["name"] == "chat-config")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
        config = read(tmp_path / name, DeploymentConfig)
        assert config.target.model == "org/model"
    assert yaml.safe_load(data["engine.yaml"])["serving"]["port"] == 30000


def test_every_object_carries_the_hash_of_what_was_rendered():
    _, children = settled()
    assert all(len(c["metadata"]["annotations"][HASH]) == 16 for c in children)


def test_what_an_agent_did_not_do_is_a_condition():
    todo = plan(a_world(problems=(Problem("LoadFailing", "a did not take version 7: timed out"),)))
    degraded = next(c for c in todo.status["conditions"] if c["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "LoadFailing")


def claim_of(world, **more):
    body = next(child for child in world.children.values() if child["kind"] == "PersistentVolumeClaim")
    changed = copy.deepcopy(dict(body)) | {"status": {"phase": "Bound"}}
    for part, value in more.items():
        changed[part] = changed.get(part, {}) | value
    return changed


def storage(world, claim, *pods):
    seen = a_world(world.spec, pods=pods or world.pods, children=[claim] if claim else [])
    conditions = plan(seen).status["conditions"]
    return next((c["status"], c["reason"]) for c in conditions if c["type"] == "StorageReady")


def test_the_condition_of_the_volume():
    world, _ = settled()
    bound = claim_of(world)
    engine = Pod("a", "10.0.0.1", 0, 0, 1.0)
    half, full = Volume(50, 100), Volume(2, 100)
    assert storage(world, bound, dataclasses.replace(engine, volume=half)) == ("True", "Bound")
    assert storage(world, bound, dataclasses.replace(engine, volume=full)) == ("False", "VolumeFull")
    assert storage(world, bound, dataclasses.replace(engine, volume_problem="EIO")) == ("False", "VolumeFailing")
    assert storage(world, claim_of(world, status={"phase": "Pending"})) == ("False", "ClaimPending")
    assert storage(world, claim_of(world, status={"phase": "Lost"})) == ("False", "ClaimLost")
    assert storage(world, claim_of(world, spec={"accessModes": ["ReadWriteOncePod"]})) == ("False", "ClaimExclusive")
    assert storage(world, None) == ("Unknown", "ClaimNew")
    named, _ = settled(a_spec(weights={"claimName": "shared"}))
    assert storage(named, None) == ("False", "ClaimMissing")


def affinities(world):
    bodies = [body for body in world.children.values() if body["kind"] in {"Deployment", "Job"}]
    assert len(bodies) == 3
    return [body["spec"]["template"]["spec"].get("affinity") for body in bodies]


def test_pods_that_can_only_share_a_node_do():
    world, _ = settled()
    assert affinities(world) == [None] * 3
    world, _ = settled(a_spec(weights={"template": {"accessMode": "ReadWriteOnce"}}))
    for affinity in affinities(world):
        (term,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["labelSelector"]["matchLabels"] == {"app.kubernetes.io/instance": "chat"}
