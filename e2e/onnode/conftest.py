"""The product on a node: kubelet, containers, SGLang, the trainer, Prometheus; and real requests."""

import json
import subprocess
import time

import model_volume
import pytest
import yaml
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.requests import measure
from aurora_demo import smollm2
from deployed import MODEL, NAME, condition, kubectl, status, url
from host import Host
from machine import emulated
from node_support import ROOT, Served, brief, eventually
from transformers import AutoTokenizer
from workshop.cache import CACHE


def pytest_addoption(parser):
    parser.addoption("--steady-seconds", type=int, default=60, help="of watching that steady state writes nothing")


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
    folder = smollm2.materialise(CACHE / "models")
    model_volume.bring(folder, MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", tokenizer)
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    body["spec"]["weights"] |= {"onDelete": "Delete", "template": {"size": "10Gi", "storageClassName": "small"}}
    began = time.monotonic()
    kubectl("apply", "-f", "-", stdin=json.dumps(emulated(brief(body))))
    eventually("available", lambda: condition("Available")["status"] == "True", 400)
    eventually("an agent reported what the volume has", lambda: status().get("stable"), 60)
    first = measure(url(), prompts[:1], 1, 8)
    assert not first.failures
    yield Served(url(), prompts, time.monotonic() - began)
    kubectl("delete", "specdep", NAME, "--wait")
