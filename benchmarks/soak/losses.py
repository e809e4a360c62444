"""Statuses that are lost and volumes that are emptied or swapped, while the operator is killed (-9) at random moments.

A real API server and operator; agent and store are real, in this process, and in an engine's place stands one that
verifies and serves what it is asked for. Before each loss a new version is published and promoted by a person. Then
the status is cleared, or the resource deleted and applied again; or the volume's versions and record go, or others take
their place under the same numbers. Meanwhile a trainer's pruning runs by what the operator says is in use. Afterwards
stable must be what it was, its files verified, and nothing may have been served that was not published here.

Run by tools/workshop.sh soak --api-only losses, which brings up the API server.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from aurora_core.agent.app import make
from aurora_core.errors import WeightsError
from aurora_core.protocol.agent import Record
from aurora_core.weights import record
from aurora_core.weights.store import WeightsStore
from aurora_operator.api import GROUP, KIND, VERSION
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.connection import connect
from aurora_operator.reconcile.snapshot import decoded
from aurora_operator.render.config import AGENT_PORT
from bench import ROOT, report
from deployed import kubectl
from host import Host, wait
from operated import Operator, prepare
from served import Served, publish

SPACE, ADDRESS = "losses", "127.0.0.91"
KINDS = ("status cleared", "applied again", "volume emptied", "volume swapped")
KEEP = 2
"""Versions that pruning keeps beside those in use."""


def do(*arguments: str, body: object = None) -> str:
    """Run kubectl in the namespace to success."""
    return kubectl("-n", SPACE, *arguments, stdin=None if body is None else json.dumps(body))


@cache
def cluster() -> Cluster:
    """The API server."""
    return Cluster(connect())


def read(api_version: str, kind: str, name: str) -> dict[str, Any]:
    """An object; empty where there is none."""
    return cluster().get(api_version, kind, SPACE, name) or {}


def status() -> dict[str, Any]:
    """Of the resource; empty where there is none."""
    return read(f"{GROUP}/{VERSION}", KIND, "chat").get("status") or {}


def storage() -> str:
    """Why the volume is not as it should be, or an empty string."""
    found = {one["type"]: one for one in status().get("conditions", ())}.get("StorageReady", {})
    return str(found.get("reason")) if found.get("status") == "False" else ""


def stable() -> tuple[int | None, str | None]:
    """Version and digest."""
    found = status().get("stable") or {}
    return found.get("version"), found.get("digest")


def engine_pod() -> str:
    """A ready pod of the operator's own Deployment, which no controller makes here."""
    deployment = read("apps/v1", "Deployment", "chat-engine")
    labels, template = deployment["spec"]["template"]["metadata"]["labels"], deployment["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "controller": True}
    replicas = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "chat-engine-1",
            "labels": labels,
            "ownerReferences": [
                owner | {"kind": "Deployment", "name": "chat-engine", "uid": deployment["metadata"]["uid"]}
            ],
        },
        "spec": {"replicas": 0, "selector": deployment["spec"]["selector"], "template": template},
    }
    made = json.loads(do("create", "-o", "json", "-f", "-", body=replicas))
    mine = [owner | {"kind": "ReplicaSet", "name": "chat-engine-1", "uid": made["metadata"]["uid"]}]
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "engine", "image": "none/engine"}]}}
    do("create", "-f", "-", body=pod | {"metadata": {"name": "chat-engine-1-a", "labels": labels,
                                                     "ownerReferences": mine}})  # fmt: skip
    ready = {"phase": "Running", "podIP": ADDRESS, "conditions": [{"type": "Ready", "status": "True"}]}
    do("patch", "pod", "chat-engine-1-a", "--subresource=status", "-p", json.dumps({"status": ready}))
    return "chat-engine-1-a"


def prune(store: WeightsStore, over: threading.Event) -> None:
    """As a trainer: by what the operator says is in use, once per second."""
    while not over.wait(1):
        found = read("v1", "ConfigMap", "chat-desired")
        kept = found.get("data", {}).get("in-use", "all")
        if kept != "all" and store.root.is_dir():
            store.prune(KEEP, map(int, kept.split(",")))


class Killed:
    """The operator, which can be killed and is started again."""

    def __init__(self, log: Path) -> None:
        self._log, self.kills = log, 0
        self._running = Operator.start(SPACE, log)

    def kill(self) -> None:
        """With SIGKILL; another starts at once."""
        self._running.kill()
        self.kills += 1
        self._running = Operator.start(SPACE, self._log)

    def stop(self) -> None:
        """End the operator that runs."""
        self._running.stop()


class Trial:
    """What was published, what is lost of it, and what must be there again."""

    def __init__(self, folder: Path, body: dict[str, Any]) -> None:
        self.volume, self.aside, self.other = folder / "volume", folder / "aside", folder / "other"
        self.store, self.body = WeightsStore(self.volume / "weights"), body
        self.published = dict([publish(self.store, "first")])

    def promote(self) -> tuple[int, str]:
        """Publish another version, and have a person promote it."""
        version, digest = publish(self.store, f"version {time.time_ns()}")
        self.published[version] = digest
        wait(f"version {version} on trial", lambda: (status().get("candidate") or {}).get("version") == version, 60)
        do("annotate", "--overwrite", "specdep", "chat", f"aurora-operator.io/promote={version}")
        wait(f"version {version} stable", lambda: stable() == (version, digest), 60)
        return version, digest

    def recorded(self, version: int) -> bool:
        """Whether the volume records that a version is stable."""
        found = record.read(self.volume / "record")
        return found is not None and found.version == version

    def lose(self, kind: str, version: int) -> str:
        """Lose something; returns the condition's reason that is due."""
        if kind == "status cleared":
            do("patch", "specdep", "chat", "--subresource=status", "--type=json", "-p",
               json.dumps([{"op": "replace", "path": "/status", "value": {}}]))  # fmt: skip
            return ""
        if kind == "applied again":
            do("delete", "specdep", "chat", "--wait=true")
            do("apply", "-f", "-", body=self.body)
            return ""
        self.aside.mkdir()
        for part in ("weights", "record"):
            (self.volume / part).rename(self.aside / part)
        if kind == "volume swapped":
            foreign = WeightsStore(self.volume / "weights")
            while max(foreign.versions(), default=-1) < version:
                number, digest = publish(foreign, f"foreign {time.time_ns()}")
            record.write(self.volume / "record", Record(version=number, steps=3, digest=digest, decided=number))
            return "VolumeReplaced"
        WeightsStore(self.volume / "weights").root.mkdir(parents=True, exist_ok=True)
        return "StableMissing"

    def restore(self) -> None:
        """Put the volume back."""
        if self.aside.exists():
            shutil.rmtree(self.volume)
            self.aside.rename(self.volume)


def one(trial: Trial, engine: Served, operator: Killed, kind: str, rng: random.Random) -> list[str]:
    """One loss; returns what went wrong."""
    version, digest = trial.promote()
    wait("it is recorded", lambda: trial.recorded(version), 60)
    killed = rng.choice((True, False))
    time.sleep(rng.uniform(0, 2))
    due = trial.lose(kind, version)
    time.sleep(rng.uniform(0, 2))
    if killed:
        operator.kill()
    wrong = []
    if due:
        wait(f"{kind}: {due}", lambda: storage() == due, 90)
        if stable() != (version, digest):
            wrong.append(f"{kind}: {stable()} stands for stable {version} on another volume")
        trial.restore()
        wait("the volume is itself", lambda: not storage(), 90)
    wait(f"{kind}: version {version} is stable again", lambda: stable() == (version, digest), 90)
    wait("it is served", lambda: engine.state().draft.live == version, 60)
    try:
        trial.store.verify(version)
    except WeightsError as error:
        wrong.append(f"{kind}: {error}")
    return wrong


def main() -> None:
    """All losses; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", type=int, default=20, help="of each of four kinds as many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Host().state / "log" / "operator.log", help="of the operator")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    order = [KINDS[i % len(KINDS)] for i in range(options.losses)]
    rng.shuffle(order)
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))
    kubectl("create", "namespace", SPACE)
    do("create", "serviceaccount", "default")
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": "chat", "namespace": SPACE}}
    body["spec"] = {"mode": "ExternalWithoutDraft", "target": {"model": "a/b"}, "promotion": {"strategy": "Manual"}}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="aurora-bench-") as folder:
        trial = Trial(Path(folder), body)
        engine, over = Served(trial.store), threading.Event()
        operator = Killed(options.log)
        try:
            wrong = _lost(trial, engine, operator, order, rng, over)
        finally:
            over.set()
            operator.stop()
            kubectl("delete", "namespace", SPACE, "--wait=false")
    foreign = set(engine.digests) - set(trial.published.values())
    wrong += [f"{len(foreign)} versions were served that nobody published here"] if foreign else []
    figures = {"operator_kills": operator.kills, "versions": len(trial.published), "swaps": len(engine.digests)}
    report("losses", losses=Counter(order), wrong=wrong, foreign_served=len(foreign), **figures)
    if wrong:
        raise SystemExit(1)


def _lost(
    trial: Trial, engine: Served, operator: Killed, order: list[str], rng: random.Random, over: threading.Event
) -> list[str]:
    do("apply", "-f", "-", body=trial.body)
    wait("a job", lambda: read("batch/v1", "Job", "chat-init"), 60)
    prepare(SPACE, "job/chat-init")
    wait("the engines' deployment", lambda: read("apps/v1", "Deployment", "chat-engine"), 60)
    bound = {"status": {"phase": "Bound"}}
    do("patch", "pvc", "chat-weights", "--subresource=status", "-p", json.dumps(bound))
    key = decoded(read("v1", "Secret", "chat-keys"), "agent")
    app = make(trial.store, engine, key, name=engine_pod(), record=trial.volume / "record")
    server = uvicorn.Server(uvicorn.Config(app, host=ADDRESS, port=AGENT_PORT, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    threading.Thread(target=prune, args=(trial.store, over), daemon=True).start()
    wrong = []
    for number, kind in enumerate(order):
        began = time.monotonic()
        wrong += one(trial, engine, operator, kind, rng)
        print(f"{number + 1} of {len(order)}: {kind}, {time.monotonic() - began:.0f} s; {wrong or 'nothing'} wrong",
              flush=True)  # fmt: skip
    return wrong


if __name__ == "__main__":
    main()
