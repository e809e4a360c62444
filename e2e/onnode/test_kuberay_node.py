"""Mode Online on a node: KubeRay's own operator, Ray in real pods, the same gate; in this order."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml
from aurora_core.evaluation.requests import Stream, measure
from aurora_core.protocol.trainer import STATUS_FILE, TrainerStatus
from aurora_core.weights.store import WeightsStore
from aurora_operator.render.config import METRICS_PORT
from deployed import kubectl
from host import build
from machine import emulated
from node_support import ROOT, eventually, read
from ports import free_port
from workshop.build import KUBERAY
from workshop.waiting import NotInTimeError

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

NAME = "online"
RANKS = 2
SELECTED = f"app.kubernetes.io/instance={NAME}"


def status():
    return read("specdep", NAME).get("status", {})


def condition(kind):
    found = (one for one in status().get("conditions", []) if one["type"] == kind)
    return next(found, {"status": "Unknown", "reason": "", "message": ""})


def pods(component):
    chosen = f"{SELECTED},app.kubernetes.io/component={component}"
    return json.loads(kubectl("get", "pods", "-l", chosen, "-o", "json"))["items"]


def versions():
    return status().get("serving", {}).get("versions")


def uid(pod):
    return pod["metadata"]["uid"]


def volume():
    """The folder behind the claim, on this machine."""
    name = read("persistentvolumeclaim", f"{NAME}-weights")["spec"]["volumeName"]
    return Path(read("persistentvolume", name)["spec"]["hostPath"]["path"])


def trained():
    return TrainerStatus.of(volume() / "training" / STATUS_FILE)


def writer():
    """Name of the pod that has the right to write versions."""
    lease = max((volume() / "training").glob("writer-*.json"))
    return json.loads(lease.read_text())["host"].split("/")[0]


def reported(pod):
    """What a rank's process answers a scrape with; nothing before it has met the others."""
    try:
        return httpx.get(f"http://{pod['status'].get('podIP')}:{METRICS_PORT}/metrics", timeout=10).text
    except httpx.HTTPError:
        return ""


def computed(pod):
    """CPU seconds of a follower's process."""
    lines = reported(pod).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total "))


def train_together():
    """Both ranks take each step, and one has the volume; returns the pods, the writer's first."""
    (first,), (other,) = ([pod for pod in pods("trainer") if (pod["metadata"]["name"] == writer()) is own]
                          for own in (True, False))  # fmt: skip
    before, seconds = trained(), computed(other)
    assert before.ranks == RANKS
    eventually("three more steps", lambda: trained().step >= before.step + 3, 60)
    assert computed(other) > seconds + 0.2
    assert "aurora_train_step" in reported(first)
    assert "aurora_train_step" not in reported(other)
    return first, other


class KubeRay:
    """Its operator, as a process of this machine."""

    def __init__(self, folder, log):
        self._folder, self._log, self.process = folder, log, None

    def start(self):
        ports = (f"--metrics-addr=:{free_port()}", f"--health-probe-bind-address=:{free_port()}")
        command = [self._folder / "kuberay", "--enable-leader-election=false", *ports]
        with self._log.open("ab") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ)

    def kill(self):
        self.process.kill()
        self.process.wait(30)


@pytest.fixture(scope="module")
def kuberay(tmp_path_factory):
    folder = Path(build("KubeRay", 60, KUBERAY))
    kubectl("apply", "--server-side", "-f", str(folder / "crd"))
    kubectl("wait", "--for=condition=Established", "crd/rayclusters.ray.io", "--timeout=30s")
    running = KubeRay(folder, tmp_path_factory.mktemp("kuberay") / "log")
    running.start()
    yield running
    running.process.terminate()
    running.process.wait(30)
    kubectl("delete", "-f", str(folder / "crd"))


@pytest.fixture(scope="module")
def online(served, kuberay):
    """Alongside the resource of another mode, which is suspended, and with the same volume of a model."""
    assert kuberay.process.poll() is None
    chart = str(ROOT / "charts" / "aurora-operator")
    flags = ("--namespace", "aurora-system", "--reuse-values", "--set", "ray.enabled=true", "--wait", "--timeout=120s")
    done = subprocess.run(["helm", "upgrade", "aurora", chart, *flags], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    body = emulated(yaml.safe_load((ROOT / "examples" / "online.yaml").read_text()))
    body["metadata"]["name"] = NAME
    body["spec"]["training"]["nodes"] = RANKS
    # Versions that differ by much: so one is on trial for longer than a moment.
    own = {"startSamples": 8, "publishEverySteps": 10, "publishMinGain": 0.2, "saveEverySteps": 10}
    body["spec"]["training"]["hyperparameters"] |= own
    body["spec"]["weights"]["onDelete"] = "Delete"
    began = time.monotonic()
    kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def available():
        assert kuberay.process.poll() is None, f"KubeRay's operator ended with {kuberay.process.returncode}"
        return condition("Available")["status"] == "True"

    eventually("available", available, 300)
    address = kubectl("get", "service", NAME, "-o", "jsonpath=http://{.spec.clusterIP}:{.spec.ports[0].port}")
    first = measure(address, served.prompts[:1], 1, 8)
    assert first.failures == ()
    print(f"mode Online answers after {time.monotonic() - began:.0f} s")
    yield address
    kubectl("delete", "specdep", NAME, "--wait", "--ignore-not-found")
    kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce-")


def test_ray_is_one_workload_of_confined_pods_and_is_reported(online):
    assert online
    eventually("ray is ready", lambda: condition("RayReady")["status"] == "True", 60)
    (cluster,) = json.loads(kubectl("get", "rayclusters.ray.io", "-o", "json"))["items"]
    for component, count in (("ray-head", 1), ("engine", 1), ("trainer", RANKS)):
        found = [pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods(component)]
        assert found == [uid(cluster)] * count
    found = kubectl("get", "deployments,jobs", "-l", SELECTED, "-o", "name").split()
    assert found == [f"job.batch/{NAME}-init"]


def test_two_ranks_train_a_version_that_is_promoted_also_while_one_and_kuberay_are_gone(online, served, kuberay):
    stream = Stream.start(online, served.prompts, 2, 64)
    began = time.monotonic()
    eventually("a version is on trial", lambda: status().get("candidate"), 300)
    print(f"a version is on trial {time.monotonic() - began:.0f} s after the first requests")
    assert condition("TrainingHealthy")["status"] == "True"
    (engine,) = pods("engine")
    first, other = train_together()
    step = trained().step
    # Nobody replaces the pod before KubeRay is back.
    kuberay.kill()
    kubectl("delete", "pod", other["metadata"]["name"], "--grace-period=0", "--force")

    def stable():
        return status()["stable"]["version"]

    def promoted():
        # Whichever is on trial now: while training is young, a better version takes the trial within seconds.
        candidate = status().get("candidate")
        if candidate and not stable():
            kubectl("annotate", "specdep", NAME, f"aurora-operator.io/promote={candidate['version']}", "--overwrite")
        return stable()

    eventually("a version is promoted", promoted, 120)
    eventually("it serves", lambda: stable() and versions() == [stable()], 60)
    assert status()["stable"]["steps"] == 3
    assert [*map(uid, pods("trainer"))] == [uid(first)]
    kuberay.start()
    back = time.monotonic()
    kubectl("annotate", "specdep", NAME, f"aurora-operator.io/rollback={stable()}:0", "--overwrite")
    eventually("it is undone", lambda: stable() == 0, 60)
    eventually("and no longer serves", lambda: versions() == [0], 60)
    assert [*map(uid, pods("engine"))] == [uid(engine)]

    def returned():
        found = pods("trainer")
        return len(found) == RANKS and uid(other) not in map(uid, found) and all(map(reported, found))

    eventually("both ranks again", returned, 180)
    print(f"KubeRay was back: both ranks were there again after {time.monotonic() - back:.0f} s at most")
    again, _ = train_together()
    assert uid(again) == uid(first)
    eventually("training is past the step at which one was lost", lambda: trained().step > step, 60)
    assert status()["training"]["ready"] == status()["training"]["ranks"] == RANKS
    store = WeightsStore(volume() / "weights")
    assert all(store.verify(version) for version in store.versions())
    assert stream.stop().failures == []


def test_a_killed_head_takes_the_engines_with_it_and_all_of_ray_comes_back_by_itself(online, served):
    (before,) = pods("engine")
    (head,) = pods("ray-head")
    kubectl("delete", "pod", head["metadata"]["name"], "--grace-period=0", "--force")
    began = time.monotonic()
    eventually("it stops serving", lambda: condition("Available")["status"] == "False", 90)
    stopped = time.monotonic() - began
    eventually("it serves again", lambda: condition("Available")["status"] == "True", 240)
    print(f"the head was killed: serving ended after {stopped:.0f} s, was back after {time.monotonic() - began:.0f} s")
    assert measure(online, served.prompts[:1], 1, 8).failures == ()
    # In the same pod: its place, its GPUs and its volume stay.
    assert [*map(uid, pods("engine"))] == [uid(before)]
    eventually("ray is ready", lambda: condition("RayReady")["status"] == "True", 120)
    assert status()["stable"]["version"] == 0


def test_what_is_deleted_is_gone(online):
    assert online
    kubectl("delete", "specdep", NAME, "--wait")

    def left():
        found = kubectl(
            "get", "pods,services,rayclusters.ray.io,networkpolicies,configmaps", "-l", SELECTED, "-o", "name"
        )
        return found.split()

    with contextlib.suppress(NotInTimeError):
        eventually("all of it is gone", lambda: not left(), 120)
    assert left() == []
