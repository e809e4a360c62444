"""An operator of an earlier commit and this one, in turns, over the same resources on a real API server.

The earlier one, with its definition, makes the children and its status; then this definition and this operator take
over; then the earlier operator comes back, first under this definition and then under its own; and at last this one
again. After each turn what is stable must be as it was, nothing may be degraded, and nothing be written at rest. What
each turn would restart is printed: pods' templates and Jobs that changed, and which fields.

    tools/workshop.sh soak --api-only previous --before COMMIT

The earlier commit is checked out in a worktree of its own, and runs with the environment of this one. No controllers
run: what the Job controller would report of the init Job is written in its place, and there are no pods.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aurora_core.protocol import metrics
from deployed import kubectl
from host import wait
from operated import Operator, prepare

STABLE = {"version": 4, "steps": 3, "since": "2026-01-01T12:00:00Z", "previous": 2, "previousSteps": 3, "digest": ""}
ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""Seconds that anything may take."""
KINDS = (
    "specdep", "deployments", "jobs", "services", "configmaps", "secrets", "persistentvolumeclaims",
    "poddisruptionbudgets", "networkpolicies",
)  # fmt: skip
URL = "http://prometheus.monitoring.svc:9090"
SPECS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "canary": {"serving": {"replicas": 3}},
    "odd": {"serving": {"resources": {"limits": {"memory": "65536Mi", "cpu": "0.5"}}}, "training": {"gpus": 1}},
    "alone": {"weights": {"template": {"accessMode": "ReadWriteOnce"}}, "serving": {"replicas": 2}},
    "asleep": {"suspend": True},
}
"""Specs that differ in what is made of them; each on top of a model and a Prometheus."""


def source(commit: str, folder: Path) -> Path:
    """A commit's files."""
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--detach", "-f", str(folder), commit], check=True, capture_output=True)
    return folder


def remove(folder: Path) -> None:
    """Take a worktree back."""
    command = ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder)]
    subprocess.run(command, check=False, capture_output=True)


def served() -> bool:
    """Whether the API server serves the definition."""
    return "speculatordeployments" in kubectl("api-resources", "--api-group=aurora-operator.io", "-o", "name")


def define(root: Path) -> None:
    """Apply a commit's definition."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(root / "crds"))
    wait("the definition", served, PATIENCE)


def objects(space: str) -> dict[str, dict[str, Any]]:
    """All that is there, by kind and name."""
    found = json.loads(kubectl("get", ",".join(KINDS), "-n", space, "-o", "json"))["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def template(body: Mapping[str, Any]) -> Any:  # noqa: ANN401 (a pod template, or None)
    """Of its pods."""
    return body.get("spec", {}).get("template") if body["kind"] in {"Deployment", "Job"} else None


def differing(before: Any, after: Any, path: str = "") -> list[str]:  # noqa: ANN401 (any part of a body)
    """Paths at which two bodies differ.

    >>> differing({"a": 1, "b": [1]}, {"a": 2, "b": [1, 2]})
    ['a', 'b[1]']
    """
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [
            found for key in keys for found in differing(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
        ]
    if isinstance(before, list) and isinstance(after, list):
        longest = range(max(len(before), len(after)))
        pairs = [[(one[i] if i < len(one) else None) for one in (before, after)] for i in longest]
        return [found for i, (one, other) in enumerate(pairs) for found in differing(one, other, f"{path}[{i}]")]
    return [] if before == after else [path]


@dataclass
class Turn:
    """What an operator made of what it found.

    Attributes:
        name: which operator, and under which definition.
        restarts: of each object whose pods would restart, what changed.
        other: names of further objects that changed.
        writes: objects that changed at rest.
        degraded: messages, by resource.
        lost: resources whose stable version is another one.
        settled: seconds until nothing changed any more.
    """

    name: str
    restarts: dict[str, list[str]] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    degraded: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    settled: float = 0.0

    def show(self) -> None:
        """Print it."""
        print(f"== {self.name}: at rest after {self.settled:.0f} s")
        for name, paths in self.restarts.items():
            print(f"   restarts {name}: {', '.join(paths[:6])}{' ...' if len(paths) > 6 else ''}")
        print(f"   changed besides: {', '.join(self.other) or 'nothing'}")
        print(f"   written at rest: {', '.join(self.writes) or 'nothing'}")
        for what, found in (("degraded", self.degraded), ("another stable version", self.lost)):
            print(f"   {what}: {found or 'none'}", flush=True)


def versions(found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Resource versions: any write changes one."""
    return {name: body["metadata"]["resourceVersion"] for name, body in found.items()}


def at_rest(space: str, quiet: float, patience: float) -> tuple[dict[str, dict[str, Any]], float]:
    """Wait until nothing was written for so long."""
    began = changed = time.monotonic()
    last = objects(space)
    while time.monotonic() - changed < quiet:
        if time.monotonic() - began > patience:
            break
        time.sleep(2)
        now = objects(space)
        if versions(now) != versions(last):
            changed, last = time.monotonic(), now
    return last, changed - began


def compared(turn: Turn, before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]) -> None:
    """Fill in what a turn changed."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            turn.other.append(f"{name} {'made' if old is None else 'deleted'}")
            continue
        paths = differing(template(old), template(new))
        if old["kind"] in {"Deployment", "Job"} and (paths or old["metadata"]["uid"] != new["metadata"]["uid"]):
            turn.restarts[name] = paths or ["made again"]
        elif old["kind"] != "SpeculatorDeployment" and differing(old.get("spec"), new.get("spec")):
            turn.other.append(name)
    for name, body in after.items():
        if body["kind"] != "SpeculatorDeployment":
            continue
        status = body.get("status", {})
        if (status.get("stable") or {}).get("version") != STABLE["version"]:
            turn.lost.append(name)
        for one in status.get("conditions", ()):
            if one["type"] == "Degraded" and one["status"] == "True":
                turn.degraded[name] = f"{one['reason']}: {one['message']}"


def reconciled(running: Operator) -> float:
    """How many reconciles ended since it started."""
    try:
        return running.metric(f"{metrics.OPERATOR_RECONCILE_SECONDS.name}_count")
    except OSError:
        return 0


def turned(space: str, root: Path, name: str, log: Path, options: argparse.Namespace) -> Turn:
    """Let an operator run until it rests, and a while longer."""
    before = objects(space)
    paths = (root / part / "src" for part in ("operator", "aurora_core"))
    environment = {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    running = Operator.start(space, log, environment=environment)
    turn = Turn(name)
    try:
        for one in SPECS:
            wait(f"job/{one}-init", lambda one=one: f"Job/{one}-init" in objects(space), PATIENCE)  # type: ignore[misc]
            prepare(space, f"job/{one}-init")
        if not any(name.startswith("Deployment/") for name in before):
            wait("engines", lambda: "Deployment/plain-engine" in objects(space), PATIENCE)
            for one in SPECS:
                patch = json.dumps({"status": {"stable": STABLE, "decided": 4}})
                kubectl("patch", "specdep", one, "-n", space, "--subresource=status", "--type=merge", "-p", patch)
        enough = 3 * len(SPECS)
        wait("every resource is reconciled", lambda: reconciled(running) >= enough, PATIENCE)
        after, turn.settled = at_rest(space, 20, PATIENCE)
        compared(turn, before, after)
        time.sleep(options.rest)
        now = versions(objects(space))
        turn.writes = sorted(name for name, version in versions(after).items() if now.get(name) != version)
        if not running.alive():
            sys.exit(f"the operator ended:\n{log.read_text()[-2000:]}")
    finally:
        running.stop()
    turn.show()
    return turn


def turns(space: str, earlier: Path, folder: Path, options: argparse.Namespace) -> Sequence[Turn]:
    """All of them, in order."""
    out = []
    for number, (name, root, definition) in enumerate((
        ("the earlier operator", earlier, earlier),
        ("this operator", ROOT, ROOT),
        ("the earlier operator under this definition", earlier, ROOT),
        ("the earlier operator under its own", earlier, earlier),
        ("this operator again", ROOT, ROOT),
    )):  # fmt: skip
        define(definition)
        if number == 0:
            kubectl("create", "namespace", space)
            for one, spec in SPECS.items():
                full = {"mode": "ExternalWithoutDraft", "target": {"model": "org/model"}, **spec}
                body: dict[str, Any] = {"apiVersion": "aurora-operator.io/v1alpha1", "kind": "SpeculatorDeployment"}
                body |= {"metadata": {"name": one}, "spec": full | {"promotion": {"prometheus": {"url": URL}}}}
                kubectl("apply", "-n", space, "-f", "-", stdin=json.dumps(body))
        out.append(turned(space, root, name, folder / f"{number}.log", options))
    return out


def main() -> None:
    """All turns; the last line is JSON, and the status 1 where something was lost, degraded or written at rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="of the earlier operator")
    parser.add_argument("--rest", type=float, default=40, help="seconds at rest, in which nothing may be written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aurora-previous-") as folder:
        earlier = source(options.before, Path(folder) / "earlier")
        try:
            done = turns(f"turns-{os.getpid()}", earlier, Path(folder), options)
        finally:
            remove(earlier)
    figures = {
        turn.name: {
            "restarts": sorted(turn.restarts),
            "written": turn.writes,
            "degraded": turn.degraded,
            "lost": turn.lost,
        }
        for turn in done
    }
    print(json.dumps({"benchmark": "previous", "before": options.before, "resources": len(SPECS), "turns": figures}))
    sys.exit(1 if any(turn.writes or turn.degraded or turn.lost for turn in done[1:]) else 0)


if __name__ == "__main__":
    main()
