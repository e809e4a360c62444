"""When the Jobs of the trainer and of init are made, kept and made again."""

import pytest
from aurora_operator.reconcile.plan import plan
from operator_support import a_snapshot, a_spec, having, reported, settled


def trained(steps):
    return a_spec(training={"hyperparameters": {"numTrainSteps": steps}})


def test_a_trainer_that_took_its_steps_is_done_until_more_are_asked_for():
    snapshot, children = settled(trained(100))
    children = having(children, "chat-trainer", succeeded=1)
    todo = plan(a_snapshot(snapshot.spec, pods=snapshot.pods, children=children))
    assert (todo.delete, todo.apply) == ((), ())
    assert reported("TrainingHealthy", spec=snapshot.spec, children=children)[0] == "Completed"
    more = plan(a_snapshot(trained(200), pods=snapshot.pods, children=children))
    assert more.delete == (("batch/v1", "Job", "chat-trainer"),)


def test_a_trainer_without_an_end_that_ended_is_recreated_and_what_was_fetched_stays():
    snapshot, children = settled()
    todo = plan(a_snapshot(pods=snapshot.pods, children=having(children, "chat-trainer", succeeded=1)))
    assert (todo.delete, todo.apply) == ((("batch/v1", "Job", "chat-trainer"),), ())


@pytest.mark.parametrize("name", ["chat-trainer", "chat-init"])
@pytest.mark.parametrize(("time", "again"), [("11:58:59", True), ("11:59:30", False), ("never", False)])
def test_a_job_that_was_given_up_is_recreated_after_a_minute(name, time, again):
    snapshot, children = settled()
    failed = {"type": "Failed", "status": "True", "lastTransitionTime": f"2026-01-01T{time}Z"}
    job = having(children, name, succeeded=0, conditions=[failed])
    todo = plan(a_snapshot(pods=snapshot.pods, children=job))
    assert (("batch/v1", "Job", name) in todo.delete) == again


def test_an_init_job_that_was_cleaned_up_keeps_nothing_from_being_scaled_or_put_back_while_an_engine_serves():
    snapshot, children = settled()
    gone = {"chat-init", "chat"}
    rest = [child for child in children if (child["metadata"]["name"], child["kind"]) not in
            {("chat-init", "Job"), ("chat", "Service")}]  # fmt: skip
    todo = plan(a_snapshot(a_spec(serving={"replicas": 3}), pods=snapshot.pods, children=rest))
    applied = {(body["kind"], body["metadata"]["name"]): body for body in todo.apply}
    assert applied["Deployment", "chat-engine"]["spec"]["replicas"] == 3
    assert gone <= {name for _, name in applied}


def test_an_init_job_that_ran_stays_whatever_the_template_becomes():
    snapshot, children = settled()
    spec = a_spec(training={"podTemplate": {"spec": {"nodeSelector": {"gpu": "h100"}}}})
    todo = plan(a_snapshot(spec, pods=snapshot.pods, children=children))
    assert todo.delete == (("batch/v1", "Job", "chat-trainer"),)
    unfinished = having(children, "chat-init", active=1)
    assert ("batch/v1", "Job", "chat-init") in plan(a_snapshot(spec, pods=snapshot.pods, children=unfinished)).delete
