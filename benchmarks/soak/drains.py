"""A node that is drained while two engine pods on it answer requests, with a ReadWriteMany and a ReadWriteOnce claim.

`kubectl drain` is the real one, with budgets and grace. There is one node, so it is taken back (`kubectl uncordon`) as
soon as it was closed, and pods come back on it as they would on another one; the drain evicts the pods that were there.
What counts: that the drain ends, how long it takes, how long no pod is ready, and which requests fail meanwhile.

    tools/workshop.sh soak drains
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import model_volume
import yaml
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.requests import Stream
from aurora_demo import smollm2
from bench import ROOT, report
from deployed import MODEL, NAME, condition, kubectl, pods, url
from host import wait
from machine import emulated, patience
from transformers import AutoTokenizer
from workshop.cache import CACHE

CHOSEN = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=engine"


def ready() -> list[str]:
    """Names of engine pods that take requests."""

    def is_ready(pod: dict[str, Any]) -> bool:
        conditions = pod["status"].get("conditions", ())
        return "deletionTimestamp" not in pod["metadata"] and any(
            one["type"] == "Ready" and one["status"] == "True" for one in conditions
        )

    return [name for name, pod in pods("engine").items() if is_ready(pod)]


@dataclass
class Watched:
    """How many pods were ready, over time.

    Attributes:
        seen: seconds since the epoch, and how many.
    """

    seen: list[tuple[float, int]] = field(default_factory=list)

    def without(self) -> float:
        """Seconds without a ready pod."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return sum(later - at for (at, count), (later, _) in pairs if not count)

    def fewest(self) -> int:
        """Ready pods at least."""
        return min(count for _, count in self.seen)


@contextmanager
def watched() -> Iterator[Watched]:
    """Count ready pods meanwhile, twice per second."""
    out, stop = Watched(), threading.Event()

    def count() -> None:
        while not stop.wait(0.5):
            out.seen.append((time.time(), len(ready())))

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield out
    finally:
        stop.set()
        thread.join()


def drained(seconds: float) -> float:
    """Drain the node of its engine pods, and take it back at once; returns how long the drain took.

    Raises:
        SystemExit: it did not end in time.
    """
    (node,) = kubectl("get", "nodes", "-o", "name").split()
    began = time.monotonic()
    command = ["kubectl", "drain", node, f"--pod-selector={CHOSEN}", "--delete-emptydir-data", "--ignore-daemonsets",
               f"--timeout={seconds:.0f}s"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as drain:
        path = "jsonpath={.spec.unschedulable}"
        wait("the node is closed", lambda: kubectl("get", node, "-o", path) == "true" or drain.poll() is not None, 30)
        kubectl("uncordon", node)
        output = drain.stdout.read() if drain.stdout else ""
    print("   " + output.strip().replace("\n", "\n   "), flush=True)
    if drain.returncode:
        sys.exit(f"the drain did not end within {seconds:.0f} s")
    return time.monotonic() - began


def drain_with(access_mode: str, prompts: list[str], seconds: float) -> dict[str, Any]:
    """One deployment, drained under load; returns what was seen."""
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    body["spec"]["serving"]["replicas"] = 2
    body["spec"]["weights"] = {"onDelete": "Delete", "template": {"size": "4Gi", "accessMode": access_mode}}
    # No trainer: the two engines have the processor to themselves.
    body["spec"]["suspend"] = True
    kubectl("apply", "-f", "-", stdin=json.dumps(emulated(body)))
    wait("both pods are ready", lambda: condition("Available")["reason"] == "AllReady", patience(500))
    before = set(ready())
    stream = Stream.start(url(), prompts, 4, 96)
    wait("requests are answered", lambda: len(stream.record.answers) > 8, 120)
    with watched() as seen:
        took = drained(seconds)
        wait("both pods are back", lambda: len(set(ready()) - before) == 2, patience(500))
        answered = len(stream.record.answers)
        wait("requests are answered", lambda: len(stream.record.answers) > answered + 8, 120)
    record = stream.stop()
    kubectl("delete", "specdep", NAME, "--wait", "--timeout=180s")
    wait("pods are gone", lambda: not pods("engine"), 180)
    figures = {
        "drain_seconds": round(took, 1),
        "fewest_ready": seen.fewest(),
        "seconds_without_a_ready_pod": round(seen.without(), 1),
        "requests": len(record.answers),
        "failed": len(record.failures),
        "failures": sorted({failure.partition(": ")[2][:80] for failure in record.failures}),
    }
    print(f"{access_mode}: {figures}", flush=True)
    return figures


def main() -> None:
    """Both; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="within which a drain must end")
    options = parser.parse_args()
    folder = smollm2.materialise(CACHE / "models")
    prompts = read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", AutoTokenizer.from_pretrained(folder))
    model_volume.bring(folder, MODEL)
    modes = ("ReadWriteMany", "ReadWriteOnce")
    report("drains", **{mode: drain_with(mode, prompts, options.seconds) for mode in modes})


if __name__ == "__main__":
    main()
