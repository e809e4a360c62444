"""The gate's verdicts on the real node, again and again: a damaged draft, an identical one, a better one.

In each round, under live traffic and with training quiet: a damaged copy of stable, or an older version, must be
rejected; an intact copy must not be promoted; and after a person promoted a damaged copy, an intact copy of the good
version must be promoted over it. With --kills, the operator, Prometheus and the engine are killed (-9) so often at
random moments meanwhile, and their pods deleted, as a node that fails would; no verdict may change or fall twice by
that, and no object be there twice. On SIGTERM it reports the rounds that it finished. --speculation asks
instead whether a draft that makes serving slower is switched off, and stays off when it is tried again.

Run by tools/verdicts.sh, which brings up the node; Services must be reachable.
"""

import argparse
import contextlib
import json
import signal
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import model_volume
import yaml
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.requests import Stream, measure
from aurora_demo import smollm2
from bench import ROOT, report
from deployed import (
    MODEL,
    NAME,
    annotate,
    condition,
    decisions,
    kubectl,
    patch,
    pods,
    publish_copy,
    quieten,
    status,
    url,
)
from host import wait
from machine import emulated
from transformers import AutoTokenizer
from workshop.cache import CACHE

from soak.killer import Killer

UNDECIDED_SECONDS = {"damaged": 480, "identical": 120, "better": 900}
"""How long a trial may stay undecided. An identical draft's always does; the others must fall on evidence."""
DAMAGES = ("rows", "vocabulary", "older")
"""What is wrong with a damaged draft, round after round: rows of the head shuffled, tokens of the vocabulary shuffled,
or the first that training published, before it learned what the good one knows."""
EXPECTED = {"damaged": "Rejected", "identical": "Rejected", "better": "Promoted"}


class TerminatedError(Exception):
    """SIGTERM."""


def _terminated(*_: object) -> None:
    raise TerminatedError


def say(text: str) -> None:
    """A line at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def until(what: str, ready: Any, seconds: float) -> Any:  # noqa: ANN401 (whatever the condition gives)
    """The first truthy value of a condition."""
    return wait(what, ready, seconds, every=2, state=lambda: json.dumps(status(), indent=1))


@dataclass(frozen=True)
class Drafts:
    """Versions: the good one of a round, and one from before it."""

    good: int
    older: int


@dataclass
class Tally:
    """What happened."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in EXPECTED})
    requests: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in EXPECTED})
    rejected: Counter[str] = field(default_factory=Counter)
    wrong: list[dict[str, Any]] = field(default_factory=list)


def first_published(good: int) -> int:
    """The oldest version on the volume that has learned something, or the untrained one where that is the good one."""
    (trainer,) = pods("trainer")
    versions = map(int, kubectl("exec", trainer, "--", "ls", "/data/weights/versions").split())
    return min((version for version in versions if 0 < version < good), default=0)


def publish(kind: str, drafts: Drafts, damage: str) -> int:
    """Publish what a trial of a kind is about; returns its version."""
    if kind != "damaged":
        return publish_copy(drafts.good)
    return publish_copy(drafts.older) if damage == "older" else publish_copy(drafts.good, damage)


def trial(kind: str, drafts: Drafts, damage: str, tally: Tally) -> None:
    """Publish, wait for the verdict, and note whether it was the right one."""
    patch({"promotion": {"gate": {"maxDurationSeconds": UNDECIDED_SECONDS[kind]}}})
    version = publish(kind, drafts, damage)
    began = time.monotonic()
    words = ("Promoted", "Rejected", "Superseded", "Paused")
    entries = until(f"a verdict on version {version}", partial(decisions, version, *words), 1200)
    seconds = time.monotonic() - began
    tally.seconds[kind].append(round(seconds, 1))
    tally.requests[kind].append(entries[0]["requests"])
    what = f"{kind} ({damage})" if kind == "damaged" else kind
    tally.rejected[damage] += kind == "damaged" and entries[0]["verdict"] == "Rejected"
    say(f"{what} version {version}: {entries[0]['verdict']} after {seconds:.0f} s, {entries[0]['reason']}")
    too_late = kind == "damaged" and not entries[0]["reason"].startswith("NotBetter")
    if too_late or [e["verdict"] for e in entries] != [EXPECTED[kind]]:
        tally.wrong.append({"kind": kind, "entries": entries})


def children() -> dict[str, int]:
    """How many objects of each kind the resource has."""
    chosen = ("-l", f"app.kubernetes.io/instance={NAME}", "-o", "json")
    kinds = "deployments,jobs,services,configmaps,secrets,persistentvolumeclaims"
    items = json.loads(kubectl("get", kinds, *chosen))["items"]
    return dict(sorted(Counter(item["kind"] for item in items).items()))


def promote_damaged(good: int) -> int:
    """A person takes a damaged copy of the good version; returns its number."""
    bad = publish_copy(good, "rows")
    until("on trial", lambda: (status().get("candidate") or {}).get("version") == bad, 120)
    annotate("promote", bad)
    until("promoted manually", lambda: status()["stable"]["version"] == bad, 60)
    return bad


def speculation(tally: Tally) -> None:
    """Where a person took a damaged draft on day-0, target-only must switch speculation off, and keep it off."""
    first = until("a first version", lambda: status().get("candidate"), 900)["version"]
    quieten()
    bad = promote_damaged(first)
    patch({"promotion": {"recheckSeconds": 120}})
    for word in ("SpeculationOff", "SpeculationStaysOff"):
        began = time.monotonic()
        entry = until(word, partial(decisions, bad, word, "SpeculationOn"), 900)[0]
        tally.seconds[word] = [round(time.monotonic() - began, 1)]
        tally.requests[word] = [entry["requests"]]
        say(f"version {bad}: {entry['verdict']} after {tally.seconds[word][0]:.0f} s, {entry['reason']}")
        if entry["verdict"] != word:
            tally.wrong.append({"kind": "speculation", "entries": [entry]})


def serve(folder: Path, prompts: list[str]) -> Stream:
    """Apply and wait for the first answer; returns the traffic."""
    model_volume.bring(folder, MODEL)
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    kubectl("apply", "-f", "-", stdin=json.dumps(emulated(body)))
    until("available", lambda: condition("Available")["status"] == "True", 400)
    address = url()
    if measure(address, prompts[:1], 1, 8).failures:
        sys.exit("the first request failed")
    stream = Stream.start(address, prompts, 2, 96)
    say("traffic began")
    return stream


def promoted(seconds: float) -> Drafts:
    """Wait for the first promotion, then keep training quiet; returns what the rounds are about."""
    until("a promotion", lambda: [e for e in status()["history"] if e["verdict"] == "Promoted"], seconds)
    quieten()
    patch({"promotion": {"recheckSeconds": 86400}})
    good = status()["stable"]["version"]
    say(f"version {good} is stable, training is quiet")
    return Drafts(good, first_published(good))


def main() -> None:
    """All rounds; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1500, help="give up after so long without a first promotion")
    parser.add_argument("--speculation", action="store_true", help="instead: is a draft that slows switched off?")
    options = parser.parse_args()
    folder = smollm2.materialise(CACHE / "models")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stream = serve(folder, read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", tokenizer))
    tally, finished = Tally(), 0
    drafts = None if options.speculation else promoted(options.seconds)
    before, killer = children(), Killer(options.kills, say)
    killer.start()
    signal.signal(signal.SIGTERM, _terminated)
    with contextlib.suppress(TerminatedError):
        if drafts is None:
            speculation(tally)
        while drafts is not None and finished < options.rounds:
            say(f"round {finished + 1} of {options.rounds}")
            drafts = replace(drafts, good=status()["stable"]["version"])
            for kind in EXPECTED:
                if kind == "better":
                    promote_damaged(drafts.good)
                trial(kind, drafts, DAMAGES[finished % len(DAMAGES)], tally)
            finished += 1
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    not_done = killer.stop()
    until("everything is back", lambda: condition("Available")["status"] == "True", 300)
    if children() != before:
        tally.wrong.append({"kind": "children", "before": before, "after": children()})
    record = stream.stop()
    report(
        "verdicts",
        rounds=finished,
        wrong=tally.wrong,
        damaged_rejected=tally.rejected,
        kills=killer.done,
        kills_not_done=not_done,
        median_seconds={kind: statistics.median(values) for kind, values in tally.seconds.items() if values},
        longest_seconds={kind: max(values) for kind, values in tally.seconds.items() if values},
        median_requests={kind: statistics.median(values) for kind, values in tally.requests.items() if values},
        requests_answered=len(record.answers),
        requests_failed=len(record.failures),
        # A failure reads "ID: what happened".
        failed_by=Counter(failure.partition(": ")[2].split()[0] for failure in record.failures),
    )
    if tally.wrong or not_done:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
