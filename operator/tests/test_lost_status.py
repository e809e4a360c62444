"""A resource that lost its status, and a volume that is not the one it was: nothing unproved is served as stable."""

from datetime import timedelta

import pytest
from aurora_core.protocol.agent import Best, Record
from aurora_operator.api.status import Stable, Status
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.reconcile.plan import plan
from aurora_operator.render.training import CLAIM
from operator_support import NOW, a_snapshot, a_spec, reported, settled

VERSIONS = tuple(Published(n, 1.0 + n / 10, f"digest-{n}") for n in (0, 5, 6, 7, 8, 9))
RECORD = Record(version=7, steps=3, digest="digest-7", decided=8)
POD = Pod("a", "10.0.0.1", 0, 0, 1.0)


def desired(todo):
    return next((b["data"] for b in todo.apply if b["metadata"]["name"] == "chat-desired"), None)


def test_before_an_agent_reported_nothing_is_stable_and_nothing_may_be_deleted():
    todo = plan(a_snapshot(versions=None))
    assert todo.status["stable"] is None
    assert desired(todo) == {"version": "0", "steps": "0", "digest": "", "in-use": "all"}
    assert todo.loads == ()
    assert todo.record is None


def test_what_the_volume_records_is_stable_again():
    todo = plan(a_snapshot(versions=VERSIONS, record=RECORD, pods=(POD,)))
    stable = todo.status["stable"]
    assert (stable["version"], stable["steps"], stable["digest"]) == (7, 3, "digest-7")
    assert todo.status["decided"] == 8
    assert todo.notes[0].reason == "StateRestored"
    assert [(load.version, load.steps, load.digest) for load in todo.loads if load.version == 7] == [(7, 3, "digest-7")]
    assert {"7"} <= set(desired(todo)["in-use"].split(","))


@pytest.mark.parametrize(("version", "found"), [(6, 6), (99, None)])
def test_the_best_version_so_far_is_recorded_and_found_again_where_it_still_is(version, found):
    best = Best(version=version, steps=3, digest="digest-6", estimate=-0.01, lower=-0.02)
    todo = plan(a_snapshot(versions=VERSIONS, record=RECORD.model_copy(update={"best": best}), pods=(POD,)))
    anchor = todo.status["anchor"]
    assert (anchor and anchor["version"]) == found
    if anchor:
        assert todo.record is None
        assert str(version) in desired(todo)["in-use"].split(",")
    else:
        assert todo.record[1] == RECORD.model_copy(update={"decided": 8})


def test_a_version_that_was_decided_is_not_tried_again_after_the_status_was_lost():
    todo = plan(a_snapshot(versions=VERSIONS[:-1], record=RECORD, pods=(POD,)))
    assert todo.status["candidate"] is None


@pytest.mark.parametrize("record", [None, Record(version=99, steps=3)])
def test_without_a_usable_record_a_retained_volume_starts_from_version_0(record):
    todo = plan(a_snapshot(versions=VERSIONS, record=record, pods=(POD,)))
    assert (todo.status["stable"]["version"], todo.status["stable"]["steps"]) == (0, 0)


def test_a_status_that_is_there_wins_over_the_record():
    status = Status(stable=Stable(version=5, steps=3, since=NOW - timedelta(hours=1), digest="digest-5"), decided=9)
    todo = plan(a_snapshot(status=status, versions=VERSIONS, record=RECORD, pods=(POD,)))
    assert todo.status is None or todo.status["stable"]["version"] == 5
    assert todo.record is not None
    assert todo.record[1] == Record(version=5, steps=3, digest="digest-5", decided=9)


def test_the_record_is_written_once():
    status = Status(stable=Stable(version=7, steps=3, since=NOW, digest="digest-7"), decided=8)
    versions = VERSIONS[:-1]
    assert plan(a_snapshot(status=status, versions=versions, record=RECORD, pods=(POD,))).record is None


@pytest.mark.parametrize(
    ("versions", "reason"),
    [(VERSIONS[:2], "StableMissing"), ((*VERSIONS[:3], Published(7, 1.7, "another")), "VolumeReplaced")],
)
def test_a_volume_that_was_emptied_or_replaced_is_noticed_and_its_namesake_is_never_activated(versions, reason):
    stable = Stable(version=7, steps=3, since=NOW, digest="digest-7")
    _, children = settled(a_spec())
    bound = [c | {"status": {"phase": "Bound"}} if c["kind"] == "PersistentVolumeClaim" else c for c in children]
    state = {"status": Status(stable=stable, decided=9), "versions": versions, "pods": (POD,), "children": bound}
    assert reported("StorageReady", **state)[0] == reason
    todo = plan(a_snapshot(**state))
    assert all(load.digest == "digest-7" for load in todo.loads)
    assert desired(todo)["digest"] == "digest-7"


def test_an_engine_that_serves_target_only_for_lack_of_its_version_says_so():
    pod = Pod("a", "10.0.0.1", 9, 0, 1.0, fallback="version 7 is not in /data/weights; serving target-only")
    reason, message = reported("Degraded", pods=(pod,), versions=VERSIONS)
    assert reason == "ServingTargetOnly"
    assert "version 7" in message


def with_claim(children, uid, **metadata):
    """The children of a resource whose claim has this uid and is bound."""
    return [
        c | {"metadata": c["metadata"] | {"uid": uid} | metadata, "status": {"phase": "Bound"}}
        if c["kind"] == "PersistentVolumeClaim"
        else c
        for c in children
    ]


def prepared_on(children, uid, ended=NOW - timedelta(hours=1)):
    """The children after the init Job prepared the claim with this uid."""
    return [
        c
        | {
            "metadata": c["metadata"] | {"annotations": {**c["metadata"]["annotations"], CLAIM: uid}},
            "status": {"succeeded": 1, "completionTime": ended.isoformat()},
        }
        if c["metadata"]["name"] == "chat-init"
        else c
        for c in children
    ]


INIT = ("batch/v1", "Job", "chat-init")


def test_the_init_job_says_which_claim_it_prepares():
    _, children = settled(a_spec())
    without = [c for c in with_claim(children, "claim-1") if c["metadata"]["name"] != "chat-init"]
    job = next(b for b in plan(a_snapshot(children=without)).apply if b["metadata"]["name"] == "chat-init")
    assert job["metadata"]["annotations"][CLAIM] == "claim-1"


def test_a_claim_that_was_made_again_is_prepared_again():
    _, children = settled(a_spec())
    children = prepared_on(with_claim(children, "claim-2"), "claim-1")
    assert INIT in plan(a_snapshot(children=children, versions=None)).delete
    assert reported("Available", children=children, versions=None)[0] == "Preparing"
    gone = [c for c in children if c["metadata"]["name"] != "chat-init"]
    job = next(b for b in plan(a_snapshot(children=gone, versions=None)).apply if b["metadata"]["name"] == "chat-init")
    assert job["metadata"]["annotations"][CLAIM] == "claim-2"


def test_the_claim_that_was_prepared_is_not_prepared_again():
    _, children = settled(a_spec())
    children = prepared_on(with_claim(children, "claim-1"), "claim-1")
    for versions in (None, VERSIONS):
        assert INIT not in plan(a_snapshot(children=children, versions=versions, pods=(POD,))).delete


@pytest.mark.parametrize(("minutes", "again"), [(4, False), (6, True)])
def test_a_volume_that_stays_empty_is_prepared_again(minutes, again):
    _, children = settled(a_spec())
    children = prepared_on(with_claim(children, "claim-1"), "claim-1", NOW - timedelta(minutes=minutes))
    assert (INIT in plan(a_snapshot(children=children, versions=(), pods=(POD,))).delete) is again


@pytest.mark.parametrize("ended", ["yesterday", "2026-01-01T00:00:00", 7])
def test_a_job_with_no_time_that_can_be_read_ends_no_reconcile(ended):
    _, children = settled(a_spec())
    children = prepared_on(with_claim(children, "claim-1"), "claim-1")
    for child in children:
        if child["metadata"]["name"] == "chat-init":
            child["status"]["completionTime"] = ended
    assert INIT not in plan(a_snapshot(children=children, versions=(), pods=(POD,))).delete


def test_a_claim_that_is_being_deleted_shows():
    _, children = settled(a_spec())
    children = with_claim(children, "claim-1", deletionTimestamp=NOW.isoformat())
    reason, message = reported("StorageReady", children=children, versions=VERSIONS, pods=(POD,))
    assert reason == "ClaimDeleted"
    assert "chat-weights" in message
