"""The product on a cluster: apply a SpeculatorDeployment, send traffic, and watch a draft earn its promotion.

Then a damaged draft is published, and live traffic rejects it. tools/quickstart.sh runs it in the local node's network;
elsewhere --forward reaches the Service. Ends with the speed table, measured in this run through the Service: with the
promoted draft, and after a roll-back without it. --dashboards draws the three Grafana dashboards of the run.
"""

import argparse
import contextlib
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import model_volume
import yaml
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.requests import Measured, Record, Stream, measure
from aurora_demo import smollm2
from aurora_demo.plots import cores
from aurora_operator.promotion.statistics import ends
from deployed import (
    MODEL,
    annotate,
    condition,
    forwarded,
    kubectl,
    patch,
    pods,
    publish_copy,
    quieten,
    resource,
    status,
    url,
)
from machine import emulated, patience, slowness
from monitoring.asked import Span
from monitoring.picture import draw_all
from transformers import AutoTokenizer
from workshop.cache import CACHE
from workshop.waiting import NotInTimeError, wait

ROOT = Path(__file__).parent.parent
HELD_OUT = 8


class Timeline:
    """Prints what happens, when it happens."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = ""

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """A line, unless it was the last one."""
        if text != self._last:
            print(f"[{self.seconds():5.0f} s] {text}", flush=True)
            self._last = text


def await_condition(timeline: Timeline, kind: str, seconds: float) -> None:
    """Until a condition is True."""

    def is_true() -> bool:
        seen = condition(kind)
        timeline.say(f"{kind}: {seen['status']} {seen['reason']}: {seen['message'][:160]}")
        return bool(seen["status"] == "True")

    wait(kind, is_true, patience(seconds), every=1)


def watch(
    timeline: Timeline, verdict: str, seconds: float, stream: Stream, version: int | None = None
) -> dict[str, Any]:
    """Until a verdict fell, of a version or of any; returns its entry in the history."""

    def fell() -> dict[str, Any] | None:
        now = status()
        candidate, stable = now.get("candidate"), now.get("stable") or {"version": "not known yet", "steps": 0}
        trial = "no candidate"
        if candidate:
            bounds = [candidate.get(k) for k in ("estimate", "lower", "upper")]
            numbers = "" if None in bounds else f", {bounds[0]:.2f} times stable ({ends(*bounds[1:])})"
            trial = f"version {candidate['version']} on trial: {candidate['verdict']}{numbers}"
        timeline.say(
            f"stable {stable['version']} ({stable['steps']} steps); {trial}; "
            f"trained {now['training']['step']} steps; {len(stream.record.answers) // 10 * 10}+ answered, "
            f"{len(stream.record.failures)} failed"
        )
        for entry in now["history"]:
            if entry["verdict"] == verdict and version in {None, entry["version"]}:
                found: dict[str, Any] = entry
                return found
        return None

    return wait(verdict, fell, patience(seconds), every=3, state=lambda: condition("PromotionProgressing"))


def rolled_back(timeline: Timeline) -> None:
    """Undo the promotion, and wait until the pods serve the version before."""
    stable = status()["stable"]["version"]
    annotate("rollback", stable)

    def done() -> bool:
        now = status()
        return bool(now["stable"]["version"] != stable and now["serving"]["versions"] == [now["stable"]["version"]])

    wait("the version before in all pods", done, patience(60), every=1)
    timeline.say(f"rolled back from version {stable} to {status()['stable']['version']}")


def table(rows: list[tuple[str, Measured]]) -> str:
    """Speeds side by side."""
    base = rows[-1][1].tokens_per_second
    lines = [f"{'served with':34} {'tokens/s':>9} {'ratio':>6} {'accept length':>14}"]
    lines += [
        f"{name:34} {m.tokens_per_second:9.1f} {m.tokens_per_second / base:6.2f} {m.accept_length:14.2f}"
        for name, m in rows
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Outcome:
    """What was seen and measured.

    Attributes:
        first_answer, promoted: seconds from kubectl apply.
        version: the promoted draft's.
        record: the live traffic.
        ended: when live traffic ended, before training was suspended.
        adapted, plain: held-out prompts with the promoted draft, and with speculation off.
    """

    first_answer: float
    promoted: float
    version: int
    record: Record
    ended: datetime
    adapted: Measured
    plain: Measured


def apply(path: Path, access_mode: str | None) -> None:
    """Apply the resource, its claim with another access mode where one is asked for."""
    body = yaml.safe_load(path.read_text())
    if access_mode is not None:
        body["spec"]["weights"]["template"]["accessMode"] = access_mode
    kubectl("apply", "-f", "-", stdin=json.dumps(emulated(body)))


def perform(timeline: Timeline, address: str, prompts: list[str], seconds: float) -> Outcome:
    """First answer, promotion, rejection, then both speeds."""
    first = measure(address, prompts[:1], 1, 16)
    if first.failures:
        sys.exit(f"the first request failed: {first.failures}")
    first_answer = timeline.seconds()
    timeline.say("first request answered")
    stream = Stream.start(address, prompts[HELD_OUT:], 2, 96)
    watch(timeline, "Promoted", seconds, stream)
    promoted = timeline.seconds()
    quieten()
    stable = status()["stable"]["version"]
    damaged = publish_copy(stable, "rows")
    timeline.say(f"published version {damaged}: version {stable} with shuffled rows")
    rejected = watch(timeline, "Rejected", seconds, stream, damaged)
    timeline.say(f"version {damaged} rejected: {rejected['reason']}")
    record, ended = stream.stop(), datetime.now(UTC)
    patch({"suspend": True})
    timeline.say("training suspended for the measurement")
    wait("the trainer's end", lambda: not pods("trainer"), patience(180), every=1)
    adapted = measure(address, prompts[:HELD_OUT], 1, 64)
    rolled_back(timeline)
    plain = measure(address, prompts[:HELD_OUT], 1, 64)
    return Outcome(first_answer, promoted, stable, record, ended, adapted, plain)


def report(seen: Outcome) -> None:
    """The table, the history, and a line of JSON."""
    adapted, plain = seen.adapted, seen.plain
    print()
    print(table([(f"version {seen.version}, promoted", adapted), ("version 0, speculation off", plain)]))
    print()
    history = status()["history"]
    for entry in history:
        print(f"{entry['time']} version {entry['version']} {entry['verdict']}: {entry['reason']}")
    figures = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {cores()} cores",
        "sglang": version("sglang"),
        "seconds_to_first_answer": round(seen.first_answer, 1),
        "seconds_to_promotion": round(seen.promoted, 1),
        "promoted_over_target_only": round(adapted.tokens_per_second / plain.tokens_per_second, 3),
        "accept_length": round(adapted.accept_length, 3),
        "requests": len(seen.record.answers),
        "failed_requests": len(seen.record.failures) + len(adapted.failures) + len(plain.failures),
        "same_answers": sum(adapted.answers[p].ids == plain.answers[p].ids for p in plain.answers),
        "answers_compared": len(plain.answers),
        "history": [{k: e.get(k) for k in ("version", "verdict", "estimate", "lower")} for e in history],
    }
    print(json.dumps(figures))


@contextlib.contextmanager
def prometheus(*, forward: bool) -> Iterator[str]:
    """Where the resource's Prometheus answers from here: a Service's own address, or a port that is forwarded to it."""
    given = urlsplit(resource()["spec"]["promotion"]["prometheus"]["url"])
    name, *rest = (given.hostname or "").split(".")
    if rest[1:2] != ["svc"]:
        yield given.geturl()
    elif forward:
        with forwarded(name, str(given.port or 80), "-n", rest[0]) as address:
            yield address
    else:
        yield url(name, "-n", rest[0])


def draw(timeline: Timeline, folder: Path, span: Span, *, forward: bool) -> None:
    """The dashboards of the run, from its Prometheus; a picture that fails fails nothing else."""
    try:
        with prometheus(forward=forward) as address, httpx.Client(base_url=address, timeout=60) as client:
            written = draw_all(folder, lambda below: client.get(below).text, span)
    except (httpx.HTTPError, ValueError, OSError, SystemExit) as error:
        timeline.say(f"no pictures of the dashboards: {error}")
        return
    timeline.say(f"drew {', '.join(str(path) for path in written)}")


def main() -> None:
    """Run it; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=ROOT / "examples" / "quickstart.yaml")
    parser.add_argument("--prompts", type=Path, default=ROOT / "examples" / "prompts" / "python.jsonl")
    parser.add_argument("--seconds", type=float, default=1500, help="give up after so long without a verdict")
    parser.add_argument("--forward", action="store_true", help="reach the Service by kubectl port-forward")
    parser.add_argument("--access-mode", help="of the claim, where the storage class gives no ReadWriteMany")
    parser.add_argument(
        "--dashboards", type=Path, metavar="FOLDER", help="draw the Grafana dashboards of the run there"
    )
    options = parser.parse_args()
    folder = smollm2.materialise(CACHE / "models")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = read_prompts(options.prompts, tokenizer)
    slowness()
    timeline = Timeline()
    model_volume.bring(folder, MODEL, options.access_mode or "ReadWriteMany")
    timeline.say(f"the model is in the volume {MODEL}")
    timeline, began = Timeline(), datetime.now(UTC)
    apply(options.file, options.access_mode)
    timeline.say(f"applied {options.file.name}")
    await_condition(timeline, "Available", 300)
    with forwarded() if options.forward else contextlib.nullcontext(url()) as address:
        seen = perform(timeline, address, prompts, options.seconds)
        if options.dashboards is not None:
            draw(timeline, options.dashboards, Span(began, seen.ended), forward=options.forward)
        report(seen)


if __name__ == "__main__":
    try:
        main()
    except NotInTimeError as error:
        sys.exit(str(error))
