"""The gate's verdicts on the real node, again and again: a damaged draft, an identical one, a better one.

In turn, under live traffic and with training quiet: a damaged copy of stable, or an older version, must be rejected;
an intact copy must not be promoted; and after a person promoted a damaged copy, an intact copy of the good version must
be promoted over it. With --kills, the operator, Prometheus and the engine are killed (-9) at random moments meanwhile,
and their pods deleted, as a node that fails would; no verdict may change or fall twice by that, and no object be there
twice. --speculation asks instead whether a draft that makes serving slower is switched off, and stays off when it is
tried again.

Ten of each kind take 80 minutes after the first promotion. With --out FILE each verdict is a line of it at once, and
the next run, with a node of its own, continues with what FILE lacks; --minutes and --kind bound a piece. On SIGTERM it
reports what it has.

Run by tools/verdicts.sh, which brings up the node; Services must be reachable.
"""

import argparse
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
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
from soak.noted import Noted, Notes, Piece

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


def trial(kind: str, drafts: Drafts, notes: Notes) -> None:
    """Publish, wait for the verdict, and note whether it was the right one."""
    damage = DAMAGES[notes.count(kind) % len(DAMAGES)] if kind == "damaged" else ""
    patch({"promotion": {"gate": {"maxDurationSeconds": UNDECIDED_SECONDS[kind]}}})
    version = publish(kind, drafts, damage)
    began = time.monotonic()
    words = ("Promoted", "Rejected", "Superseded", "Paused")
    entries = until(f"a verdict on version {version}", partial(decisions, version, *words), 1200)
    seconds = round(time.monotonic() - began, 1)
    what = f"{kind} ({damage})" if damage else kind
    say(f"{what} version {version}: {entries[0]['verdict']} after {seconds:.0f} s, {entries[0]['reason']}")
    in_time = kind != "damaged" or entries[0]["reason"].startswith("NotBetter")
    right = in_time and [e["verdict"] for e in entries] == [EXPECTED[kind]]
    notes.add(Noted(kind, damage, entries, seconds, right))


def over_damaged(drafts: Drafts, notes: Notes) -> None:
    """A better draft's trial, against a damaged one that a person promoted; the good one is stable afterwards."""
    bad = promote_damaged(drafts.good)
    try:
        trial("better", drafts, notes)
    finally:
        # Whatever ended it, nothing after it may take the damaged draft for the good one.
        if status()["stable"]["version"] == bad:
            annotate("rollback", bad)
            until("rolled back", lambda: status()["stable"]["version"] != bad, 120)


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


def speculation(notes: Notes) -> None:
    """Where a person took a damaged draft on day-0, target-only must switch speculation off, and keep it off."""
    first = until("a first version", lambda: status().get("candidate"), 900)["version"]
    quieten()
    bad = promote_damaged(first)
    patch({"promotion": {"recheckSeconds": 120}})
    for word in ("SpeculationOff", "SpeculationStaysOff"):
        began = time.monotonic()
        entry = until(word, partial(decisions, bad, word, "SpeculationOn"), 900)[0]
        seconds = round(time.monotonic() - began, 1)
        say(f"version {bad}: {entry['verdict']} after {seconds:.0f} s, {entry['reason']}")
        notes.add(Noted(word, "", [entry], seconds, entry["verdict"] == word))


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
    parser.add_argument("--count", type=int, default=10, help="verdicts of each kind, those in FILE included")
    parser.add_argument("--kind", nargs="+", choices=list(EXPECTED), default=list(EXPECTED), help="only these")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a line for each verdict; what it has is not run again"
    )
    parser.add_argument("--minutes", type=float, default=600, help="after so many no further trial begins")
    parser.add_argument("--kills", type=int, default=0, help="at most; one each 26 s or so")
    parser.add_argument("--seconds", type=float, default=1500, help="give up after so long without a first promotion")
    parser.add_argument("--speculation", action="store_true", help="instead: is a draft that slows switched off?")
    options = parser.parse_args()
    last = time.monotonic() + 60 * options.minutes
    notes = Notes(options.out)
    if not options.speculation and notes.following(options.kind, options.count) is None:
        report("verdicts", **notes.summary())
        return
    folder = smollm2.materialise(CACHE / "models")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stream = serve(folder, read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", tokenizer))
    drafts = None if options.speculation else promoted(options.seconds)
    before, killer = children(), Killer(options.kills, say)
    killer.start()
    signal.signal(signal.SIGTERM, _terminated)
    with contextlib.suppress(TerminatedError):
        if drafts is None:
            speculation(notes)
        while drafts is not None and time.monotonic() < last:
            kind = notes.following(options.kind, options.count)
            if kind is None:
                break
            say(f"{kind}, {notes.count(kind) + 1} of {options.count}")
            drafts = replace(drafts, good=status()["stable"]["version"])
            if kind == "better":
                over_damaged(drafts, notes)
            else:
                trial(kind, drafts, notes)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    killer.stop()
    until("everything is back", lambda: condition("Available")["status"] == "True", 300)
    record = stream.stop()
    # A failure reads "ID: what happened".
    failed = Counter(failure.partition(": ")[2].split()[0] for failure in record.failures)
    notes.add(Piece(killer.done, len(record.answers), dict(failed), children() == before))
    report("verdicts", **notes.summary())
    idle = options.kills and not any(killer.done.values())
    if notes.wrong or idle or not all(piece.children for piece in notes.pieces):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
