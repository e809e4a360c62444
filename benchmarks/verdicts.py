"""The gate's verdicts on the real node, again and again: a damaged draft, an identical one, a better one.

In each round, under live traffic and with training quiet: a copy of stable with shuffled rows must be rejected; a whole
copy must not be promoted; and after a person promoted a damaged copy, a whole copy of the good version must be promoted
over it. With --kills, in so many trials the operator, Prometheus or the engine is killed (-9) at a random moment.

Run by tools/verdicts.sh, which brings up the node; Services must be reachable.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aurora_core.loop.traffic import Stream, measure, read_prompts, render
from aurora_core.models import smollm2
from bench import ROOT, report
from deployed import annotate, condition, kubectl, patch, pods, publish_copy, quieten, resource, status, url
from host import Host
from transformers import AutoTokenizer

UNDECIDED_SECONDS = 120
"""How long a trial may stay undecided; an identical draft's always does."""
EXPECTED = {"damaged": "Rejected", "identical": "Rejected", "better": "Promoted"}


def say(text: str) -> None:
    """A line at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def until(what: str, ready: Any, seconds: float) -> Any:  # noqa: ANN401 (whatever the condition gives)
    """The first truthy value of a condition."""
    deadline = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {seconds:.0f} s\n{json.dumps(status(), indent=1)}")
        time.sleep(2)


def kill(name: str) -> None:
    """SIGKILL the first container of a pod's; its kubelet starts another."""
    if name == "engine":
        (pod,) = pods("engine").values()
    else:
        where = {"operator": ("aurora-system", "app.kubernetes.io/name=aurora-operator"),
                 "prometheus": ("monitoring", "app=prometheus")}[name]  # fmt: skip
        pod = json.loads(kubectl("get", "pods", "-n", where[0], "-l", where[1], "-o", "json"))["items"][0]
    running = [c for c in pod["status"]["containerStatuses"] if "running" in c["state"] and c["name"] != "agent"]
    if not running:
        say(f"  {name} is not running: not killed")
        return
    task = running[0]["containerID"].removeprefix("containerd://")
    command = ["ctr", "-a", str(Host().socket), "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", task]
    subprocess.run(command, check=True)
    say(f"  killed the {name}")


@dataclass
class Tally:
    """What happened."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in EXPECTED})
    requests: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in EXPECTED})
    wrong: list[dict[str, Any]] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=dict)


def trial(kind: str, good: int, tally: Tally, victim: str | None, rng: random.Random) -> None:
    """Publish, wait for the verdict, and note whether it was the right one."""
    version = publish_copy(good, damaged=kind == "damaged")
    began = time.monotonic()
    timer = None
    if victim is not None:
        until("on trial", lambda: (status().get("candidate") or {}).get("version") == version, 120)
        timer = threading.Timer(rng.uniform(5, 60), kill, [victim])
        timer.start()
        tally.kills[victim] = tally.kills.get(victim, 0) + 1
    words = {"Promoted", "Rejected", "Superseded", "Paused"}

    def fell() -> list[dict[str, Any]]:
        return [e for e in status()["history"] if e["version"] == version and e["verdict"] in words]

    entry = until(f"a verdict on version {version}", fell, 1200)[0]
    seconds = time.monotonic() - began
    if timer is not None:
        timer.join()
    tally.seconds[kind].append(round(seconds, 1))
    tally.requests[kind].append(entry["requests"])
    right = entry["verdict"] == EXPECTED[kind]
    say(f"{kind} version {version}: {entry['verdict']} after {seconds:.0f} s, {entry['reason']}")
    if not right:
        tally.wrong.append({"kind": kind, **entry})


def promote_damaged(good: int) -> None:
    """A person takes a damaged copy of the good version."""
    bad = publish_copy(good, damaged=True)
    until("on trial", lambda: (status().get("candidate") or {}).get("version") == bad, 120)
    annotate("promote", bad)
    until("promoted by hand", lambda: status()["stable"]["version"] == bad, 60)


def prepare(prompts: list[str], seconds: float) -> Stream:
    """Apply, wait for the first promotion, keep training quiet; returns the traffic."""
    kubectl("apply", "-f", str(ROOT / "examples" / "quickstart.yaml"))
    until("available", lambda: condition(resource(), "Available")["status"] == "True", 400)
    address = url()
    if measure(address, prompts[:1], 1, 8).failures:
        sys.exit("the first request failed")
    stream = Stream(address, prompts, 2, 96)
    say("traffic began")
    until("a promotion", lambda: [e for e in status()["history"] if e["verdict"] == "Promoted"], seconds)
    quieten()
    patch({"promotion": {"recheckSeconds": 86400, "gate": {"maxDurationSeconds": UNDECIDED_SECONDS}}})
    say(f"version {status()['stable']['version']} is stable, training is quiet")
    return stream


def main() -> None:
    """All rounds; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1500, help="give up after so long without a first promotion")
    options = parser.parse_args()
    cache = Path(os.environ.get("AURORA_CACHE", Path.home() / ".cache" / "aurora"))
    tokenizer = AutoTokenizer.from_pretrained(smollm2.materialise(cache / "models"))
    stream = prepare(render(read_prompts(ROOT / "examples" / "prompts" / "python.jsonl"), tokenizer), options.seconds)
    names = ("operator", "prometheus", "engine")
    victims = [names[i % 3] if i < options.kills else None for i in range(3 * options.rounds)]
    tally, rng = Tally(), random.Random(0)
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        good = status()["stable"]["version"]
        for kind, victim in zip(EXPECTED, victims[3 * number : 3 * number + 3], strict=True):
            if kind == "better":
                promote_damaged(good)
            trial(kind, good, tally, victim, rng)
    record = stream.stop()
    report(
        "verdicts",
        rounds=options.rounds,
        wrong=tally.wrong,
        kills=tally.kills,
        median_seconds={kind: statistics.median(values) for kind, values in tally.seconds.items()},
        longest_seconds={kind: max(values) for kind, values in tally.seconds.items()},
        median_requests={kind: statistics.median(values) for kind, values in tally.requests.items()},
        requests_answered=len(record.answers),
        requests_failed=len(record.failures),
    )
    if tally.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
