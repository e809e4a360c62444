"""What the conditions say of what was observed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from aurora_core.protocol.trainer import TrainerStatus
from aurora_operator.api.status import Status
from aurora_operator.reconcile import ray, route
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Problem
from aurora_operator.render.identity import COMPONENT
from operator_support import NOW, a_snapshot, a_spec, having, reported, settled

LOST = "store_lost: no Mooncake store at m:1"
READY = {"type": "Ready", "status": "True"}


def a_pod(component, **status):
    return {"metadata": {"name": f"chat-{component}-x", "labels": {COMPONENT: component}}, "status": status}


def a_trainer(fallen_after, running_for):
    """A pod whose process ran so many seconds, finished, and runs again for so many."""
    finished = NOW - timedelta(seconds=running_for + 10)
    last = {"exitCode": 1, "message": "out of memory"} | (
        {}
        if fallen_after is None
        else {"startedAt": (finished - timedelta(seconds=fallen_after)).isoformat(), "finishedAt": finished.isoformat()}
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
    snapshot, children = settled()
    pods = (a_trainer(fallen_after, running_for),)
    assert reported("TrainingHealthy", pods=snapshot.pods, children=children, trainer_pods=pods)[0] == reason


def test_samples_that_were_lost_on_their_way_are_named_without_a_number_that_would_change_all_the_time():
    snapshot, children = settled()
    seen = {"pods": snapshot.pods, "children": children, "trainer_pods": (a_trainer(None, 31),)}
    found = reported("TrainingHealthy", training=TrainerStatus(lost={"gone": 3, "damaged": 1}), **seen)
    assert found == ("Running", "the trainer is running; samples were lost on their way from engines: damaged, gone")
    made = plan(a_snapshot(training=TrainerStatus(lost={"gone": 3, "damaged": 1}), **seen))
    assert made.status["training"]["lost"] == 4


@pytest.mark.parametrize(
    ("damaged", "what"), [(1, "1 training state or version was"), (3, "3 training states or versions were")]
)
def test_what_was_damaged_and_passed_over_is_reported_with_its_number_and_what_to_do(damaged, what):
    snapshot, children = settled()
    seen = {"pods": snapshot.pods, "children": children, "trainer_pods": (a_trainer(None, 31),)}
    reason, message = reported("TrainingHealthy", training=TrainerStatus(damaged=damaged), **seen)
    assert reason == "Running"
    assert message.startswith(f"the trainer is running; {what} passed over at its start, damaged or not signed")
    assert message.endswith(
        "Expected once after weights.signing was set up; otherwise the volume fails, or another writer used it. The "
        "trainer's log names each"
    )


@pytest.mark.parametrize(
    ("capture", "reason", "message"),
    [
        ({"share": 0.6}, "Running", "the trainer is running"),
        (
            {"share": 0.4},
            "Running",
            "the trainer is running; engines capture less than samples.sampleRate: samples are not taken as fast",
        ),
        (
            {"share": 0.0, "paused": LOST},
            "SamplingPaused",
            f"1 of 1 engine pods hand no samples over and try again within a minute; they serve as before. a: {LOST}",
        ),
    ],
)
def test_engines_that_capture_less_than_they_should_are_named(capture, reason, message):
    snapshot, children = settled()
    pods = tuple(replace(pod, **capture) for pod in snapshot.pods)
    seen = {"pods": pods, "children": children, "trainer_pods": (a_trainer(None, 31),)}
    assert reported("TrainingHealthy", **seen) == (reason, message)
    assert reported("Degraded", **seen)[0] == "AsExpected", "serving is as it should be"


NO_SECRET = {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "hf" not found'}}}


@pytest.mark.parametrize("at", ["containerStatuses", "initContainerStatuses"])
def test_a_pod_that_waits_for_what_is_not_there_says_for_what(at):
    pod = a_pod("init", **{at: [{"name": "init", **NO_SECRET}]})
    reason, message = reported("Available", trainer_pods=(pod,))
    assert (reason, message) == ("Preparing", 'chat-init-x: CreateContainerConfigError: secret "hf" not found')


def test_a_pod_that_was_put_out_says_why_unless_another_is_in_newer_trouble():
    out = a_pod("init", phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    text = "chat-init-x: Evicted: The node was low on resource: memory."
    assert reported("Available", trainer_pods=(out,))[1] == text
    waiting = a_pod("init", containerStatuses=[{"name": "init", **NO_SECRET}])
    assert "CreateContainerConfigError" in reported("Available", trainer_pods=(out, waiting))[1]


def test_a_sidecar_that_keeps_the_init_job_from_ending_is_named():
    """Given an injected sidecar that runs on, when the init container has ended, then it is named; not before."""
    done, proxy = {"terminated": {"exitCode": 0}}, {"name": "istio-proxy", "state": {"running": {}}}
    pod = a_pod("init", containerStatuses=[{"name": "init", "state": done}, proxy])
    message = reported("Available", trainer_pods=(pod,))[1]
    assert message.startswith("chat-init-x: container init has ended, but istio-proxy runs on")
    for states in ([{"name": "init", "state": {"running": {}}}, proxy], [{"name": "init", "state": done}]):
        pod = a_pod("init", containerStatuses=states)
        assert reported("Available", trainer_pods=(pod,))[1].startswith("the target is being fetched")


@pytest.mark.parametrize("word", ["ContainerCreating", "PodInitializing"])
def test_a_pod_that_is_on_its_way_is_no_trouble(word):
    pod = a_pod("init", containerStatuses=[{"name": "init", "state": {"waiting": {"reason": word}}}])
    assert reported("Available", trainer_pods=(pod,))[1].startswith("the target is being fetched")


@pytest.mark.parametrize(("seconds", "overdue"), [(5, False), (31, True)])
def test_a_job_that_may_not_make_its_pod_is_reported(seconds, overdue):
    _, children = settled()
    now = NOW + timedelta(seconds=seconds)
    trainer = having(children, "chat-trainer", startTime="2026-01-01T12:00:00Z")
    text = "job chat-trainer cannot make its pod: kubectl describe job chat-trainer says why"
    assert (reported("TrainingHealthy", now=now, children=trainer) == ("TrainerFailing", text)) == overdue
    init = having(children, "chat-init", startTime="2026-01-01T12:00:00Z")
    assert ("job chat-init cannot" in reported("Available", now=now, children=init)[1]) == overdue


def test_a_job_that_was_given_up_is_reported_with_the_reason():
    _, children = settled()
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    text = "failed (DeadlineExceeded: too long): it is recreated after a minute"
    trainer = having(children, "chat-trainer", conditions=[failed])
    assert reported("TrainingHealthy", children=trainer) == ("TrainerFailing", f"job chat-trainer {text}")
    init = having(children, "chat-init", conditions=[failed], succeeded=0)
    assert reported("Available", children=init) == ("Preparing", f"job chat-init {text}")


def test_a_job_that_was_suspended_or_that_no_controller_saw_yet_is_given_its_time():
    _, children = settled()
    now = NOW + timedelta(hours=1)
    suspended = [{"type": "Suspended", "status": "True"}]
    resumed = having(children, "chat-trainer", startTime="2026-01-01T12:00:00Z", conditions=suspended)
    for job in (resumed, children):
        assert reported("TrainingHealthy", now=now, children=job)[0] == "TrainerStarting"


def test_engine_pods_that_a_quota_forbids_are_reported():
    _, children = settled()
    deployment = next(child for child in children if child["kind"] == "Deployment")
    text = 'pods "chat-engine-1" is forbidden: exceeded quota'
    deployment["status"] = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": text}]}
    assert reported("Available", children=children) == ("EngineFailing", text)


def a_serving_pod(name, ready, restarts=0, running_for=3600):
    """An engine pod; one that restarted ended with CUDA's own words, and has run for so long since."""
    finished = NOW - timedelta(seconds=running_for)
    process = {"name": "engine", "restartCount": restarts, "state": {"running": {"startedAt": finished.isoformat()}}}
    if restarts:
        last = {"exitCode": 1, "message": "load weights\ntorch.OutOfMemoryError: CUDA out of memory"}
        times = {"startedAt": (finished - timedelta(seconds=90)).isoformat(), "finishedAt": finished.isoformat()}
        process["lastState"] = {"terminated": last | times}
    if restarts and not ready:
        process["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return a_pod("engine", conditions=conditions, containerStatuses=[process]) | {
        "metadata": {"name": name, "labels": {COMPONENT: "engine"}}
    }


def degraded(*pods, replicas=8, children=None):
    if children is None:
        _, children = settled(a_spec(serving={"replicas": replicas}))
    return reported("Degraded", spec=a_spec(serving={"replicas": replicas}), children=children, engine_pods=pods)


def test_seven_of_eight_pods_that_crash_are_degraded_with_the_words_of_one():
    well = a_serving_pod("chat-engine-0", ready=True)
    crashing = [a_serving_pod(f"chat-engine-{i}", ready=False, restarts=9) for i in range(1, 8)]
    reason, message = degraded(well, *crashing)
    assert reason == "ReplicasFailing"
    assert message == (
        "7 of 8 engine pods cannot serve: chat-engine-1/engine ended with 1: "
        "load weights | torch.OutOfMemoryError: CUDA out of memory"
    )


def test_a_rollout_and_pods_that_start_are_not_degraded():
    starting = {"name": "engine", "state": {"waiting": {"reason": "ContainerCreating"}}}
    pods = [a_serving_pod("a", ready=True), a_pod("engine", containerStatuses=[starting])]
    leaving = a_serving_pod("b", ready=False, restarts=3)
    leaving["metadata"]["deletionTimestamp"] = NOW.isoformat()
    assert degraded(*pods, leaving, replicas=2)[0] == "AsExpected"
    assert degraded(a_serving_pod("a", ready=False), replicas=1)[0] == "AsExpected"


def test_an_evicted_pod_whose_place_is_taken_is_not_degraded():
    out = a_pod("engine", phase="Failed", reason="Evicted", message="memory")
    assert degraded(out, a_serving_pod("a", ready=True), replicas=1)[0] == "AsExpected"


@pytest.mark.parametrize(("running_for", "reason"), [(5, "ReplicasFailing"), (121, "AsExpected")])
def test_a_pod_that_is_ready_for_a_moment_between_two_crashes_stays_degraded(running_for, reason):
    flapping = a_serving_pod("a", ready=True, restarts=4, running_for=running_for)
    assert degraded(flapping, a_serving_pod("b", ready=True), replicas=2)[0] == reason


def test_pods_that_a_quota_forbids_beside_others_that_serve_are_degraded():
    _, children = settled(a_spec(serving={"replicas": 2}))
    deployment = next(child for child in children if child["kind"] == "Deployment")
    text = 'pods "chat-engine-1" is forbidden: exceeded quota'
    deployment["status"] = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": text}]}
    found = degraded(a_serving_pod("a", ready=True), replicas=2, children=children)
    assert found == ("ReplicasFailing", f"a pod of 2 cannot serve: {text}")


def test_what_an_agent_did_not_do_is_a_condition():
    todo = plan(a_snapshot(problems=(Problem("LoadFailing", "a did not take version 7: timed out"),)))
    degraded = next(c for c in todo.status["conditions"] if c["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "LoadFailing")


def test_the_description_of_conditions_names_each_of_them():
    described = Status.model_fields["conditions"].description
    always = {found["type"] for found in plan(a_snapshot()).status["conditions"]}
    assert [kind for kind in {*always, ray.CONDITION, route.CONDITION} if kind not in described] == []
