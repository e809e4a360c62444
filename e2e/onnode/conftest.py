"""The product on a whole node: kubelet, containers, SGLang, the trainer, Prometheus; and real requests."""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml
from aurora_core.loop.traffic import Stream, measure, read_prompts, render
from aurora_core.models import smollm2
from aurora_operator.clients.prometheus import Prometheus
from deployed import NAME, condition, kubectl, resource, status, url
from host import Host
from machine import emulated, patience
from transformers import AutoTokenizer

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("AURORA_CACHE", Path.home() / ".cache" / "aurora"))


def pytest_addoption(parser):
    parser.addoption("--steady-seconds", type=int, default=60, help="of watching that steady state writes nothing")


def prometheus():
    """The one that scrapes the node's pods."""
    service = read("service", "prometheus", "monitoring")["spec"]
    return Prometheus(f"http://{service['clusterIP']}:{service['ports'][0]['port']}")


def read(kind, name, namespace="default"):
    return json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json"))


def eventually(what, condition, seconds):
    """The first truthy value of a condition, within so many seconds; asked less often the longer it takes.

    A kubectl a second would take from what is waited for a good part of a core.
    """
    seconds = patience(seconds)
    began = time.monotonic()
    deadline = began + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            told = json.dumps(resource().get("status"), indent=1)
            raise AssertionError(f"{what}: not within {seconds:.0f} s\n{told}")
        time.sleep(min(3, 0.5 + (time.monotonic() - began) / 20))


def serves_on(stream):
    """Three more requests are answered."""
    answered = len(stream.record.answers)
    eventually("more answers", lambda: len(stream.record.answers) >= answered + 3, 60)


def verdicts(word):
    return [entry for entry in status()["history"] if entry["verdict"] == word]


def kill_operator():
    """SIGKILL, as a node's failure would; its Deployment starts another."""
    selector = ("-n", "aurora-system", "-l", "app.kubernetes.io/name=aurora-operator")
    kubectl("delete", "pod", *selector, "--grace-period=0", "--force")


@dataclass
class Served:
    """The deployment under test, once it answers."""

    url: str
    prompts: list[str]
    seconds_to_answer: float
    failures: list[str] = field(default_factory=list)

    def answers(self):
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def traffic(self):
        return Stream(self.url, self.prompts, 2, 96)


@pytest.fixture(scope="session")
def small_volume():
    """A volume with a file system of its own, which a test can fill without filling the machine."""
    folder = Host().volumes / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6g,mode=0777", "tmpfs", folder], check=True)
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "small"},
        "spec": {
            "capacity": {"storage": "40Gi"},
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "small",
            "hostPath": {"path": str(folder)},
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def served(small_volume):
    assert small_volume.is_mount()
    tokenizer = AutoTokenizer.from_pretrained(smollm2.materialise(CACHE / "models"))
    prompts = render(read_prompts(ROOT / "examples" / "prompts" / "python.jsonl"), tokenizer)
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    body["spec"]["weights"] |= {"onDelete": "Delete", "template": {"size": "10Gi", "storageClassName": "small"}}
    began = time.monotonic()
    kubectl("apply", "-f", "-", stdin=json.dumps(emulated(body)))
    eventually("available", lambda: condition("Available")["status"] == "True", 400)
    eventually("an agent reported what the volume has", lambda: status().get("stable"), 60)
    first = measure(url(), prompts[:1], 1, 8)
    assert not first.failures
    yield Served(url(), prompts, time.monotonic() - began)
    kubectl("delete", "specdep", NAME, "--wait")
