"""An upgrade of the operator during a trial on the real node, a return to the earlier one, and the upgrade again.

The earlier operator, of an earlier commit, runs as a process with the settings of the installed one, which is scaled
to 0 meanwhile; images of engines and trainer are the same all along, as with a fleet that pins them. Under traffic: the
earlier one until a version is on trial; this one; the earlier one; this one until a verdict. Printed for each turn:
which pods were replaced, what is stable and on trial, what is degraded, and requests that failed.

    tools/workshop.sh soak upgrades --before COMMIT
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import model_volume
import yaml
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.requests import Stream
from aurora_demo import smollm2
from bench import ROOT, report
from deployed import MODEL, NAME, condition, kubectl, pods, status, url
from host import wait
from machine import emulated, patience
from operated import Operator
from transformers import AutoTokenizer
from workshop.cache import CACHE

from soak.previous import remove, source

PREFIX = "AURORA_OPERATOR_"
OWN = {"METRICS_PORT", "HEALTH_PORT", "LEASE", "LEASE_NAMESPACE", "POD_ADDRESS", "WATCH_NAMESPACES"}
"""Settings that a process has of its own."""


def installed(replicas: int) -> None:
    """Scale the installed operator, and wait for it."""
    kubectl("scale", "deployment/aurora", "-n", "aurora-system", f"--replicas={replicas}")
    if replicas:
        kubectl("rollout", "status", "-n", "aurora-system", "deployment/aurora", "--timeout=180s")
    else:
        kubectl("wait", "pod", "-n", "aurora-system", "-l", "app.kubernetes.io/name=aurora-operator", "--for=delete",
                "--timeout=120s")  # fmt: skip


def settings() -> dict[str, str]:
    """The installed operator's, without what each process has of its own."""
    found = json.loads(kubectl("get", "deployment", "aurora", "-n", "aurora-system", "-o", "json"))
    env = found["spec"]["template"]["spec"]["containers"][0]["env"]
    named = {one["name"].removeprefix(PREFIX): one["value"] for one in env if "value" in one}
    return {name: value for name, value in named.items() if name.isupper() and name not in OWN | {"USER"}}


@contextmanager
def acting(root: Path, log: Path, given: dict[str, str]) -> Iterator[None]:
    """The earlier operator instead of the installed one; without ``root`` the installed one."""
    if root == ROOT:
        installed(1)
        yield
        return
    installed(0)
    paths = os.pathsep.join(str(root / part / "src") for part in ("operator", "aurora_core"))
    running = Operator.start("default", log, environment={"PYTHONPATH": paths}, **given)
    try:
        yield
        if not running.alive():
            sys.exit(f"the earlier operator ended:\n{log.read_text()[-2000:]}")
    finally:
        running.stop()


def on_trial() -> bool:
    """Whether a version is."""
    return bool(status().get("candidate"))


def decided() -> bool:
    """Whether one was promoted or rejected."""
    return any(entry["verdict"] in {"Promoted", "Rejected"} for entry in status()["history"])


def seen(before: set[str], stream: Stream, failed: int) -> dict[str, Any]:
    """What a turn left."""
    now = {pod["metadata"]["uid"] for kind in ("engine", "trainer") for pod in pods(kind).values()}
    found, degraded = status(), condition("Degraded")
    return {
        "pods_replaced": len(before - now),
        "stable": found["stable"]["version"],
        "candidate": (found.get("candidate") or {}).get("version"),
        "degraded": degraded["message"] if degraded["status"] == "True" else "",
        "failed_requests": len(stream.record.failures) - failed,
        "verdicts": [f"{one['version']} {one['verdict']}" for one in found["history"]],
    }


def turns(earlier: Path, folder: Path, prompts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """All four; by name what each left."""
    given, out = settings(), {}
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    body["spec"]["weights"]["onDelete"] = "Delete"
    stream: Stream | None = None
    for number, (name, root) in enumerate((
        ("the earlier operator", earlier), ("this operator", ROOT), ("the earlier operator again", earlier),
        ("this operator again", ROOT),
    )):  # fmt: skip
        before = {pod["metadata"]["uid"] for kind in ("engine", "trainer") for pod in pods(kind).values()}
        failed = len(stream.record.failures) if stream else 0
        with acting(root, folder / f"{number}.log", given):
            if stream is None:
                kubectl("apply", "-f", "-", stdin=json.dumps(emulated(body)))
                wait("it serves", lambda: condition("Available")["reason"] == "AllReady", patience(500))
                stream = Stream.start(url(), prompts, 2, 96)
                wait("a version is on trial", on_trial, patience(600))
            else:
                time.sleep(options.turn)
                wait("it serves", lambda: condition("Available")["reason"] == "AllReady", patience(500))
            if number == 3:  # the last one
                wait("a verdict", decided, patience(900))
        out[name] = seen(before, stream, failed)
        print(f"{name}: {out[name]}", flush=True)
    if stream is not None:
        stream.stop()
    kubectl("delete", "specdep", NAME, "--wait", "--timeout=180s")
    return out


def main() -> None:
    """All turns; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="of the earlier operator")
    parser.add_argument("--turn", type=float, default=60, help="seconds of the turns between")
    options = parser.parse_args()
    model = smollm2.materialise(CACHE / "models")
    prompts = read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", AutoTokenizer.from_pretrained(model))
    model_volume.bring(model, MODEL)
    with tempfile.TemporaryDirectory(prefix="aurora-upgrades-") as folder:
        earlier = source(options.before, Path(folder) / "earlier")
        try:
            report("upgrades", before=options.before, turns=turns(earlier, Path(folder), prompts, options))
        finally:
            remove(earlier)


if __name__ == "__main__":
    main()
