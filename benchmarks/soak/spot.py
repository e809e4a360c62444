"""A trainer that loses its place while an engine answers: its node is tainted as a spot node is, then it is preempted.

The engine tolerates the taint and has the higher priority, as docs/queues.md has it. Kubernetes' own controller evicts
the trainer, and its own scheduler finds no place for the next pod until the taint is gone; then that scheduler preempts
the trainer for an urgent pod that fits only in its place. What counts: that the trainer saves, that the resource
reports why it does not train, that training resumes where it was, and that no request fails.

    tools/workshop.sh soak spot
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import model_volume
import yaml
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.requests import Stream
from aurora_demo import smollm2
from bench import ROOT, report
from deployed import MODEL, NAME, condition, kubectl, pods, status, url
from host import wait
from kubernetes.utils.quantity import parse_quantity
from machine import emulated, patience
from transformers import AutoTokenizer
from workshop.cache import CACHE

TAINT = "example.com/spot"
CPUS = 0.6
"""That the trainer asks for: more than is left, less than an urgent pod asks for."""
CLASSES = {"serving": 1000, "urgent": 100}
"""Priorities; the trainer has none, which is 0."""


def _class(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": f"spot-{name}"},
        "value": CLASSES[name],
    }


def _apply(*objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def _resource() -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    spec = body["spec"]
    spec["weights"] = {"onDelete": "Delete", "template": {"size": "4Gi"}}
    spec["serving"]["podTemplate"] = {
        "spec": {"priorityClassName": "spot-serving", "tolerations": [{"key": TAINT, "operator": "Exists"}]}
    }
    spec["training"]["resources"]["requests"]["cpu"] = str(CPUS)
    spec["training"]["hyperparameters"] |= {"saveEverySteps": 1000, "publishMinGain": 100, "reuse": 1000}
    return emulated(body)


def _tolerate() -> None:
    """Whatever else is on the one node stays there: the operator and Prometheus."""
    for item in json.loads(kubectl("get", "deployments,statefulsets,daemonsets", "-A", "-o", "json"))["items"]:
        body = {"spec": {"template": {"spec": {"tolerations": [{"key": TAINT, "operator": "Exists"}]}}}}
        name, space = f"{item['kind'].lower()}/{item['metadata']['name']}", item["metadata"]["namespace"]
        kubectl("patch", "-n", space, name, "--type=merge", "-p", json.dumps(body))
        kubectl("rollout", "status", "-n", space, name, "--timeout=180s")


def _step() -> int:
    return int((status().get("training") or {}).get("step") or 0)


def _trains(beyond: int) -> Callable[[], bool]:
    return lambda: condition("TrainingHealthy")["status"] == "True" and _step() > beyond


def _waiting() -> dict[str, Any] | None:
    """The condition, once it says that the trainer has no place."""
    found = condition("TrainingHealthy")
    names = [name for name, pod in pods("trainer").items() if pod["status"]["phase"] == "Pending"]
    return found if names and found["status"] == "False" and "nodes are available" in found["message"] else None


def displaced(how: str, begin: Callable[[], None], end: Callable[[], None]) -> dict[str, Any]:
    """Take the trainer's place away and give it back; returns what was seen.

    Raises:
        SystemExit: it resumed before where it had been.
    """
    wait("training", _trains(0), patience(400))
    before, (pod,) = _step(), pods("trainer")
    began = time.monotonic()
    begin()
    wait("the pod is gone", lambda: pod not in pods("trainer"), patience(120))
    gone = time.monotonic() - began
    shown = wait("the resource reports why", _waiting, patience(120))
    kept = _step()
    end()
    began = time.monotonic()
    wait("training resumes", _trains(kept), patience(300))
    if kept < before or _step() < before:
        sys.exit(f"{how}: training was at step {before}, and resumed at {_step()}")
    figures = {
        "gone_seconds": round(gone, 1),
        "step_before": before,
        "step_kept": kept,
        "trains_again_seconds": round(time.monotonic() - began, 1),
        "reported": f"{shown['reason']}: {shown['message']}"[:300],
    }
    print(f"{how}: {figures}", flush=True)
    return figures


def _urgent() -> dict[str, Any]:
    """A pod for which the trainer must go: it asks for what the trainer has and half of what is left."""
    node = json.loads(kubectl("get", "nodes", "-o", "json"))["items"][0]
    requested = sum(_cpus(pod) for pod in json.loads(kubectl("get", "pods", "-A", "-o", "json"))["items"])
    left = _number(node["status"]["allocatable"]) - requested
    (trainer,) = pods("trainer").values()
    image = trainer["spec"]["containers"][0]["image"]
    cpus = f"{int(1000 * (left + CPUS / 2))}m"
    container = {"name": "main", "image": image, "command": ["sleep", "3600"], "resources": {"requests": {"cpu": cpus}}}
    spec = {"priorityClassName": "spot-urgent", "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "urgent"}, "spec": spec}


def _cpus(pod: dict[str, Any]) -> float:
    if pod["status"]["phase"] in {"Succeeded", "Failed"}:
        return 0.0
    spec = pod["spec"]
    containers = [
        *spec["containers"],
        *(c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"),
    ]
    return sum(_number(c.get("resources", {}).get("requests", {})) for c in containers)


def _number(resources: dict[str, str]) -> float:
    return float(parse_quantity(resources.get("cpu", "0")))  # type: ignore[no-untyped-call]


def main() -> None:
    """Both; the last line is JSON."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    folder = smollm2.materialise(CACHE / "models")
    prompts = read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", AutoTokenizer.from_pretrained(folder))
    model_volume.bring(folder, MODEL)
    _tolerate()
    _apply(*map(_class, CLASSES), _resource())
    wait("the engine serves", lambda: condition("Available")["status"] == "True", patience(500))
    stream = Stream.start(url(), prompts, 2, 48)
    (node,) = kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    tainted = displaced(
        "tainted",
        lambda: print(kubectl("taint", "node", node, f"{TAINT}=reclaimed:NoExecute").strip(), flush=True),
        lambda: print(kubectl("taint", "node", node, f"{TAINT}-").strip(), flush=True),
    )
    preempted = displaced(
        "preempted", lambda: _apply(_urgent()), lambda: print(kubectl("delete", "pod", "urgent").strip(), flush=True)
    )
    record = stream.stop()
    kubectl("delete", "specdep", NAME, "--wait", "--timeout=180s")
    report(
        "spot", tainted=tainted, preempted=preempted, requests=len(record.answers), failed=len(record.failures),
        failures=sorted({failure.partition(": ")[2][:80] for failure in record.failures}),
    )  # fmt: skip
    sys.exit(bool(record.failures))


if __name__ == "__main__":
    main()
