"""From `kubectl apply` to a draft that live traffic proved, and what becomes of a bad one; in this order."""

import contextlib
import json
import subprocess
import time

import pytest
from aurora_core.evaluation.requests import Stream, measure
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore
from control_plane import audit_log
from damaged import publish_copy
from deployed import NAME, annotate, condition, kubectl, patch, pods, quieten, status, url
from host import Host
from node_support import ROOT, eventually, is_proved_worse, kill_operator, prometheus, read, serves_on, verdicts
from workshop.waiting import NotInTimeError

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def stream(served):
    running = served.traffic()
    yield running
    assert running.stop().failures == []


@pytest.fixture
def store(small_volume):
    """The weights store, as the node's disk has it."""
    return WeightsStore(small_volume / "weights")


def publish(store, damage=None):
    """A version beside those of training: a copy of stable."""
    return publish_copy(store, status()["stable"]["version"], damage)


def trainers():
    """Uids of the trainer's pods, and how often each was restarted."""
    return {
        pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"].get("containerStatuses") or ())
        for pod in pods("trainer").values()
    }


def engine_uid():
    """Uid of the one engine's pod."""
    (pod,) = pods("engine").values()
    return pod["metadata"]["uid"]


def promote_manually(version):
    eventually("on trial", lambda: (status().get("candidate") or {}).get("version") == version, 60)
    annotate("promote", version)
    eventually("promoted manually", lambda: status()["stable"]["version"] == version, 60)


def test_it_answers_without_speculation_first(served):
    print(f"apply to first answer: {served.seconds_to_answer:.0f} s")
    assert (status()["stable"]["version"], status()["stable"]["steps"]) == (0, 0)
    assert condition("TrainingHealthy")["status"] != "False"


def test_what_another_client_deletes_or_edits_is_put_back_within_ten_seconds(served):
    uid = read("service", NAME)["metadata"]["uid"]
    kubectl("delete", "service", NAME)
    kubectl("patch", "deployment", f"{NAME}-engine", "--type=merge", "-p", '{"spec":{"revisionHistoryLimit":9}}')
    began = time.monotonic()

    def back():
        found = subprocess.run(
            ["kubectl", "get", "service", NAME, "-o", "jsonpath={.metadata.uid}"],
            check=False, capture_output=True, text=True,
        ).stdout  # fmt: skip
        limit = read("deployment", f"{NAME}-engine")["spec"]["revisionHistoryLimit"]
        return found and found != uid and limit == 2

    eventually("drift repaired", back, 10)
    print(f"drift repaired in {time.monotonic() - began:.1f} s")
    served.url = url()
    # It has a new address, which the node's proxy learns a moment after the API server.
    eventually("the new address answers", served.answers, 30)


def test_a_draft_is_trained_decided_and_promoted_while_the_operator_is_killed(stream):
    began = time.monotonic()
    pod = engine_uid()
    kills = 0

    def promoted():
        nonlocal kills
        if status().get("candidate") and kills < 4 and time.monotonic() - began > 40 * (kills + 1):
            kill_operator()
            kills += 1
        return verdicts("Promoted")

    entry = eventually("a promotion", promoted, 1500)[-1]
    print(f"promoted version {entry['version']} after {time.monotonic() - began:.0f} s and {kills} kills: {entry}")
    assert entry["lower"] > 1
    serves_on(stream)
    stable = status()["stable"]
    assert (stable["version"], stable["steps"]) == (verdicts("Promoted")[0]["version"], 3)
    assert engine_uid() == pod
    assert len(verdicts("Promoted")) == len({e["version"] for e in verdicts("Promoted")})


def test_every_panel_of_every_dashboard_has_data(stream):
    """Asked of the real Prometheus, as Grafana would."""
    server = prometheus()
    panels = {
        (path.name, panel["title"]): [
            target["expr"].replace("$speculator", f"default/{NAME}").replace("$__rate_interval", "2m")
            for target in panel["targets"]
        ]
        for path in sorted((ROOT / "charts" / "aurora-operator" / "dashboards").glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        if panel["type"] != "row"
    }
    assert len(panels) > 20

    def none_is_empty():
        """An operator that was killed a moment ago is not scraped yet."""
        for at, queries in list(panels.items()):
            if any(server.query(query, time.time())[1] for query in queries):
                del panels[at]
        return not panels

    with contextlib.suppress(NotInTimeError):
        eventually("data in every panel", none_is_empty, 60)
    server.close()
    assert panels == {}
    serves_on(stream)


def test_a_damaged_draft_is_rejected_by_live_traffic(stream, store):
    quieten()
    stable = status()["stable"]["version"]
    published = publish(store, "rows")
    began = time.monotonic()

    def rejected():
        return [e for e in verdicts("Rejected") if e["version"] == published]

    entry = eventually("a rejection", rejected, 900)[0]
    print(f"damaged version {published} rejected after {time.monotonic() - began:.0f} s: {entry}")
    assert is_proved_worse(entry)
    assert status()["stable"]["version"] == stable
    serves_on(stream)


def test_a_corrupt_version_is_refused_and_stable_serves_on(stream, store):
    stable = status()["stable"]["version"]
    staged = publish(store)
    with (store.folder(staged) / checkpoint.MODEL).open("r+b") as file:
        file.seek(4096)
        bytes_there = file.read(64)
        file.seek(4096)
        file.write(bytes(byte ^ 0xFF for byte in bytes_there))
    entry = eventually("refused", lambda: [e for e in verdicts("Rejected") if e["version"] == staged], 120)[0]
    assert "corrupt" in entry["reason"]
    assert status()["stable"]["version"] == stable
    serves_on(stream)


@pytest.fixture
def short_answers(served):
    """More traffic, whose requests soon end: so many finished ones are a window of the watch on stable."""
    running = Stream.start(served.url, served.prompts, 4, 16)
    yield
    assert running.stop().failures == []


@pytest.mark.usefixtures("short_answers")
def test_a_bad_promotion_manually_is_undone_by_live_traffic(stream, store):
    """A person takes the damaged draft; accept length falls, the version before challenges it, and wins with proof."""
    held = eventually("stable is held to a value", lambda: status()["stable"]["acceptLength"], 120)
    good, began = status()["stable"]["version"], time.monotonic()
    bad = publish(store, "rows")
    promote_manually(bad)

    def challenged():
        return (status().get("candidate") or {}).get("kind") == "Previous" or verdicts("RolledBack")

    eventually("the version before challenges it", challenged, 600)
    print(f"version {bad} challenged after {time.monotonic() - began:.0f} s")
    undone = next(e for e in eventually("rolled back", lambda: verdicts("RolledBack"), 600) if e["version"] == bad)
    print(f"version {bad} undone after {time.monotonic() - began:.0f} s, stable was held to {held}: {undone}")
    assert undone["lower"] > 1
    assert (status()["stable"]["version"], status()["stable"]["steps"]) == (good, 3)
    serves_on(stream)


def test_a_promotion_is_undone_manually_without_a_restart(stream, store):
    before, pod = status()["stable"]["version"], engine_uid()
    version = publish(store)
    promote_manually(version)
    annotate("rollback", version)
    undone = eventually("rolled back", lambda: [e for e in verdicts("RolledBack") if e["version"] == version], 60)
    assert "manually" in undone[0]["reason"]
    eventually("the pods serve the version before", lambda: status()["serving"]["versions"] == [before], 60)
    assert engine_uid() == pod
    serves_on(stream)


def fill(filler):
    """Append to the file until its file system has no room left, whatever others write and delete meanwhile."""
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))


def test_a_full_volume_is_reported_and_only_learning_stops(stream, small_volume):
    before, filler = trainers(), small_volume / "filler"

    def reported():
        fill(filler)
        return condition("StorageReady")["reason"] == "VolumeFull"

    eventually("reported", reported, 60)
    serves_on(stream)
    assert condition("Available")["status"] == "True"
    assert trainers() == before
    filler.unlink()
    eventually("room again", lambda: condition("StorageReady")["status"] == "True", 60)


def test_a_volume_that_cannot_be_read_is_reported_and_what_is_live_serves_on(stream, store):
    mode = store.root.stat().st_mode
    store.root.chmod(0)
    try:
        eventually("reported", lambda: condition("StorageReady")["reason"] == "VolumeFailing", 60)
        serves_on(stream)
        assert condition("Available")["status"] == "True"
    finally:
        store.root.chmod(mode)
    eventually("it is back", lambda: condition("StorageReady")["status"] == "True", 60)
    eventually("training is back", lambda: condition("TrainingHealthy")["status"] == "True", 120)


def test_steady_state_writes_nothing(stream, pytestconfig):
    """With training suspended and no traffic the operator, which is small, renews its Lease and writes nothing else."""
    stream.stop()
    patch({"suspend": True})
    eventually("the trainer is gone", lambda: not pods("trainer"), 120)
    eventually("reported", lambda: condition("TrainingHealthy")["reason"] == "Suspended", 30)
    time.sleep(15)
    log = audit_log(Host())

    def writes():
        account = "system:serviceaccount:aurora-system:aurora"
        lines = log.read_text().splitlines()
        return [line for line in lines if account in line and '"resource":"leases"' not in line]

    before, seconds = len(writes()), pytestconfig.getoption("steady_seconds")
    time.sleep(seconds)
    assert writes()[before:] == []
    server = prometheus()
    memory = server.number('max(process_resident_memory_bytes{pod=~"aurora-.*"})', time.time())
    server.close()
    print(f"steady for {seconds} s: no writes, the operator's memory is {memory / 2**20:.0f} MiB")
    assert memory < 150 * 2**20


def helm(*arguments):
    done = subprocess.run(
        ["helm", "--namespace", "aurora-system", *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_operator_is_upgraded_removed_and_installed_again_and_serving_never_notices(served, tmp_path):
    pod, chart = engine_uid(), str(ROOT / "charts" / "aurora-operator")
    wait = ("--wait", "--timeout", "120s")
    helm("upgrade", "aurora", chart, "--reuse-values", "--set", "podAnnotations.upgraded=yes", *wait)
    operator = read("deployment", "aurora", "aurora-system")
    assert operator["spec"]["template"]["metadata"]["annotations"]["upgraded"] == "yes"

    values = tmp_path / "values.yaml"
    values.write_text(helm("get", "values", "aurora", "-o", "yaml"))
    helm("uninstall", "aurora", *wait)
    assert read("crd", "speculatordeployments.aurora-operator.io")
    assert status()["stable"]
    assert measure(served.url, served.prompts[:2], 1, 16).failures == ()

    helm("install", "aurora", chart, "--values", str(values), *wait)
    patch({"promotion": {"probationSeconds": 60}})
    generation = read("specdep", NAME)["metadata"]["generation"]
    eventually("the operator is back", lambda: status()["observedGeneration"] == generation, 60)
    assert engine_uid() == pod
