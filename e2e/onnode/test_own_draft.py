"""A team with a draft of its own and two replicas: Canary, guards, a trainer that crashes; in this order."""

import json
import shutil
import time

import pytest
import yaml
from aurora_core.evaluation.requests import Stream, measure
from aurora_core.weights.store import WeightsStore
from aurora_demo import smollm2
from deployed import NAME, condition, decisions, kubectl, patch, pods, publish_copy, status, url
from machine import emulated
from node_support import ROOT, brief, eventually, is_proved_worse, prometheus, read, serves_on
from workshop.cache import CACHE

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def team(served, small_volume):
    """The draft that was trained here before, and its target, are a team's volume now; serving starts from it."""
    stream = served.traffic()
    eventually("a trained draft is stable", lambda: status()["stable"]["steps"], 1500)
    stream.stop()
    version = status()["stable"]["version"]
    # With the modes of new files: pods read it as another user.
    shutil.copytree(smollm2.materialise(CACHE / "models"), small_volume / "target", copy_function=shutil.copyfile)
    kubectl("delete", "specdep", NAME, "--wait")
    eventually("its pods are gone", lambda: not pods("engine") and not pods("trainer"), 180)
    for kind, spec in (
        ("PersistentVolume", {"hostPath": {"path": str(small_volume)}, "capacity": {"storage": "6Gi"},
                              "claimRef": {"name": "team", "namespace": "default"}}),
        ("PersistentVolumeClaim", {"volumeName": "team", "resources": {"requests": {"storage": "6Gi"}}}),
    ):  # fmt: skip
        common = {"accessModes": ["ReadOnlyMany"], "storageClassName": "team"}
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "team"}, "spec": spec | common}
        kubectl("apply", "-f", "-", stdin=json.dumps(body))
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    spec = body["spec"]
    spec["mode"] = "ExternalWithDraft"
    spec["target"] = {"model": "/model/target", "volume": {"claimName": "team"}}
    folder = WeightsStore(small_volume / "weights").folder(version).relative_to(small_volume)
    spec["draft"] = {"checkpoint": f"/model/{folder}"}
    spec["serving"]["replicas"] = 2
    spec["weights"] = {"onDelete": "Delete", "template": {"size": "4Gi"}}
    # The drafts on trial are published by the tests, and the engines have the processor to themselves.
    spec["training"]["hyperparameters"] |= {"publishMinGain": 100, "reuse": 0.1}
    kubectl("apply", "-f", "-", stdin=json.dumps(emulated(brief(body))))
    eventually("all pods are ready", lambda: condition("Available")["reason"] == "AllReady", 400)
    served.url = url()
    return served


@pytest.fixture(scope="module")
def stream(team):
    """Requests that soon end: a slice in which a pod has none makes its block void."""
    running = Stream.start(team.url, team.prompts, 3, 32)
    yield running
    assert running.stop().failures == []


def aurora(*arguments):
    """The command line, as a person calls it."""
    return kubectl("aurora", arguments[0], NAME, *arguments[1:])


def on_trial(version):
    eventually("on trial", lambda: (status().get("candidate") or {}).get("version") == version, 60)


def promote_manually(version):
    on_trial(version)
    aurora("promote")
    eventually("promoted manually", lambda: status()["stable"]["version"] == version, 60)


def test_it_speculates_with_its_own_draft_from_the_first_request(team):
    measured = measure(team.url, team.prompts[:6], 2, 64)
    print(f"accept length with the team's own draft: {measured.accept_length:.2f}")
    assert measured.failures == ()
    assert measured.accept_length > 1.3
    assert (status()["stable"]["version"], status()["stable"]["steps"]) == (0, 3)
    assert status()["serving"]["ready"] == 2
    assert read("poddisruptionbudget", f"{NAME}-engine")["spec"]["maxUnavailable"] == 1


def test_a_damaged_draft_is_rejected_by_one_of_two_pods(stream):
    version = publish_copy(0, "vocabulary")
    eventually("one pod serves it, the other does not", lambda: status()["serving"]["versions"] == [0, version], 120)
    entry = eventually("a verdict", lambda: decisions(version, "Rejected", "Promoted"), 900)[0]
    print(f"Canary, damaged: {entry}")
    assert is_proved_worse(entry)
    eventually("both serve stable again", lambda: status()["serving"]["versions"] == [0], 60)
    serves_on(stream)


def test_the_command_line_reports_and_decides(stream, tmp_path):
    patch({"promotion": {"gate": {"sliceSeconds": 10}}})
    version = publish_copy(0)
    on_trial(version)
    assert f"version {version}, " in aurora("status")
    assert f"Version {version} with 3 draft steps is on trial (Canary)" in aurora("explain")
    assert "on trial" in aurora("versions")
    assert "MISSING" not in aurora("doctor")
    analyses = status()["candidate"]["analyses"]
    time.sleep(20)
    # One every 5 s, and two where a slice ends; a status that is written wakes nobody.
    assert 3 <= status()["candidate"]["analyses"] - analyses <= 10
    server = prometheus()
    share = server.number('sum(rate(process_cpu_seconds_total{pod=~"aurora-.*"}[1m]))', time.time())
    server.close()
    print(f"the operator takes {share:.1%} of a core while a trial runs")
    aurora("pause")
    eventually("paused", lambda: condition("PromotionProgressing")["reason"] == "Paused", 30)
    assert status().get("candidate") is None
    aurora("resume")
    on_trial(version)
    aurora("reject")
    assert "manually" in eventually("rejected", lambda: decisions(version, "Rejected"), 30)[0]["reason"]
    aurora("status", "--plot", str(tmp_path / "trial.png"))
    assert (tmp_path / "trial.png").read_bytes().startswith(b"\x89PNG")
    patch({"promotion": {"gate": {"sliceSeconds": 5}}})
    serves_on(stream)


def test_a_better_draft_is_promoted_by_one_of_two_pods(stream):
    promote_manually(publish_copy(0, "rows"))
    version = publish_copy(0)
    entry = eventually("a verdict", lambda: decisions(version, "Rejected", "Promoted"), 900)[0]
    print(f"Canary, better: {entry}")
    assert entry["verdict"] == "Promoted"
    assert entry["lower"] > 1
    eventually("both serve it", lambda: status()["serving"]["versions"] == [version], 60)
    serves_on(stream)


def test_a_guard_that_is_breached_twice_in_a_row_rejects_a_candidate_and_undoes_a_promotion(stream):
    before = status()["stable"]["version"]
    guards = [{"name": "answers", "query": "vector(0)", "min": 1, "forAnalyses": 2}]
    version = publish_copy(before)
    promote_manually(version)
    patch({"promotion": {"guards": guards}})
    undone = eventually("rolled back", lambda: decisions(version, "RolledBack"), 60)[0]
    assert "guard answers" in undone["reason"]
    assert status()["stable"]["version"] == before
    candidate = publish_copy(before)
    rejected = eventually("rejected", lambda: decisions(candidate, "Rejected"), 90)[0]
    assert "GuardBreached" in rejected["reason"]
    patch({"promotion": {"guards": []}})
    serves_on(stream)


def test_a_trainer_that_crashes_is_reported_with_its_last_words_and_serving_continues(stream):
    broken = {"spec": {"containers": [{"name": "trainer", "env": [{"name": "PYTHONHOME", "value": "/nowhere"}]}]}}
    patch({"training": {"podTemplate": broken}})
    eventually("reported", lambda: condition("TrainingHealthy")["reason"] == "TrainerFailing", 120)
    message = condition("TrainingHealthy")["message"]
    print(message)
    assert "trainer ended with 1" in message
    assert "encodings" in message
    assert condition("Available")["reason"] == "AllReady"
    patch({"training": {"podTemplate": None}})
    eventually("it trains again", lambda: condition("TrainingHealthy")["status"] == "True", 180)
    serves_on(stream)


def test_a_trainer_that_is_drained_continues_in_another_pod(stream):
    """It ends of its own accord then, which a Job can take for done."""
    (before,) = pods("trainer")
    kubectl("delete", "pod", before, "--wait=false")

    def another():
        now = pods("trainer")
        return before not in now and [pod["status"]["phase"] for pod in now.values()] == ["Running"]

    eventually("another pod", another, 120)
    eventually("it trains again", lambda: condition("TrainingHealthy")["status"] == "True", 60)
    serves_on(stream)


def test_one_pod_of_two_that_dies_is_replaced_and_the_other_serves(stream):
    uids = {pod["metadata"]["uid"] for pod in pods("engine").values()}
    kubectl("delete", "pod", next(iter(pods("engine"))), "--wait=false")

    def replaced():
        now = {pod["metadata"]["uid"] for pod in pods("engine").values()}
        return len(now) == 2 and now != uids and condition("Available")["reason"] == "AllReady"

    eventually("a new pod", replaced, 300)
    assert status()["serving"]["versions"] == [status()["stable"]["version"]]
    serves_on(stream)
