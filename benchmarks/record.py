"""Records the counters of two unequal engines under mixed and bursting traffic, for benchmarks/recorded_trials.py.

Takes the drafts of a finished `make loop`: the newest, an older one, and none. Each engine has a core and clients of
its own: some send short requests, one sends long ones, and now and then a burst comes. The second engine shares its
core with a process that is busy about half of the time, and runs four requests at a time at most. The drafts take turns
on both engines at once, in an order drawn for each round; requests live through the swaps. Once per second the live
arm's counters are written down, as a scrape would see them.
"""

import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from aurora_core.child import Process
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.requests import Stream, measure
from aurora_core.protocol.engine import ArmCounters, measured
from aurora_demo.stack import Stack
from bench import ROOT, arguments, heading, report, stack
from transformers import AutoTokenizer

SHORT, LONG, BURST = (2, 32), (1, 384), (8, 64)
"""Requests at a time, and tokens of an answer at most."""
BURST_EVERY = 40.0
"""Seconds between two bursts of an engine, mean of an exponential distribution."""
JOINED, JOINED_SHARE = 8, 0.1
"""Prompts that one long prompt is made of, and the share of such prompts."""
BUSY = """
import random, time
while True:
    until = time.monotonic() + random.expovariate(1 / 10)
    while time.monotonic() < until:
        pass
    time.sleep(random.expovariate(1 / 10))
"""
"""Busy and idle for ten seconds each, means of an exponential distribution."""
ENGINES: Mapping[str, tuple[str, ...]] = {"quick": (), "slow": ("--max-running-requests", "4")}
"""SGLang's further arguments of each engine."""

_COUNTERS = [name for name, _ in measured(ArmCounters)]
Arm = tuple[int, int]
Row = list[float]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started meanwhile runs on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[core % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def texts(prompts: Sequence[str], rng: random.Random) -> list[str]:
    """Prompts of one stream, in an order of its own; some are many in one."""
    return [
        "".join(rng.sample(prompts, JOINED)) if rng.random() < JOINED_SHARE else prompt
        for prompt in rng.sample(prompts, len(prompts))
    ]


class Traffic:
    """An engine's clients: short and long requests all the time, and bursts."""

    @classmethod
    def start(cls, url: str, prompts: Sequence[str], seed: str) -> Self:
        """Begin to send to an engine's URL."""
        rng = random.Random(seed)
        streams = [Stream.start(url, texts(prompts, rng), *kind) for kind in (SHORT, LONG)]
        traffic = cls(streams, url, prompts, rng)
        traffic._bursts.start()
        return traffic

    def __init__(self, streams: Sequence[Stream], url: str, prompts: Sequence[str], rng: random.Random) -> None:
        self._streams = streams
        self._over = threading.Event()
        self._bursts = threading.Thread(target=self._burst, args=(url, prompts, rng), daemon=True)
        self._answered, self._failed = 0, 0

    def _burst(self, url: str, prompts: Sequence[str], rng: random.Random) -> None:
        while not self._over.wait(rng.expovariate(1 / BURST_EVERY)):
            found = measure(url, rng.sample(prompts, BURST[0]), *BURST)
            self._answered += len(found.answers)
            self._failed += len(found.failures)

    def stop(self) -> tuple[int, int]:
        """Let running requests end; returns how many were answered, and how many failed."""
        self._over.set()
        records = [stream.stop() for stream in self._streams]
        self._bursts.join()
        answered = self._answered + sum(len(record.answers) for record in records)
        return answered, self._failed + sum(len(record.failures) for record in records)


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    stack: Stack
    traffic: Traffic

    def serve(self, arm: Arm) -> None:
        """Swap to a version and its draft steps."""
        if arm[0] != self.stack.live:
            self.stack.load(arm[0])
        self.stack.set_steps(arm[1])

    def row(self, arm: Arm, since: float) -> Row:
        """Seconds since a moment, and all counters of an arm."""
        counted = self.stack.agent.live().arm(*arm)
        return [round(time.monotonic() - since, 3), *(round(float(getattr(counted, name)), 4) for name in _COUNTERS)]


def run(engines: Mapping[str, Engine], arm: Arm, seconds: float) -> dict[str, list[Row]]:
    """Let one arm serve on all engines; returns each one's rows, from the swap on."""
    for engine in engines.values():
        engine.serve(arm)
    rows: dict[str, list[Row]] = {name: [] for name in engines}
    began = due = time.monotonic()
    while not all(found and found[-1][0] >= seconds for found in rows.values()):
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1
        for name, engine in engines.items():
            rows[name].append(engine.row(arm, began))
    return rows


def started(name: str, core: int, weights: Path, config: Path, resources: ExitStack) -> Engine:
    """An engine on a core of its own, with its agent and clients."""
    folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix=f"aurora-record-{name}-")))
    (folder / "weights").symlink_to(weights.resolve())
    serving = {"extra_args": ENGINES[name]}
    loop, running, prompts = resources.enter_context(stack(config, work=folder, serving=serving))
    with on_core(core):
        running.start_engine()
    running.start_agent()
    running.agent.set_sample_rate(0)
    if loop.traffic.shifted_prompts is not None:
        prompts += read_prompts(loop.traffic.shifted_prompts, AutoTokenizer.from_pretrained(running.target.path))
    return Engine(running, Traffic.start(running.url, prompts, name))


def main() -> None:
    """Record and write."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--work", type=Path, default=ROOT / "work", help="folder of a finished loop")
    parser.add_argument("--older", type=int, help="version; the oldest trained one that is there where left out")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=30, help="of each draft in a round")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "recorded.json")
    options = parser.parse_args()
    with ExitStack() as resources:
        engines = {
            name: started(name, core, options.work / "weights", options.config, resources)
            for core, name in enumerate(ENGINES)
        }
        one = engines["quick"].stack
        trained = [version for version in one.store.versions() if version > 0]
        steps = one.config.draft.num_steps
        older = trained[0] if options.older is None else options.older
        arms: dict[str, Arm] = {"newest": (trained[-1], steps), "older": (older, steps), "none": (trained[-1], 0)}
        with on_core(1):
            log = one.work.log("neighbour")
            neighbour = Process.start("neighbour", [sys.executable, "-c", BUSY], os.environ, log)
        resources.callback(neighbour.stop)
        rng, runs = random.Random(0), []
        for number in range(options.rounds):
            for name in rng.sample(list(arms), len(arms)):
                runs.append({"round": number, "arm": name, "rows": run(engines, arms[name], options.seconds)})
                print(f"round {number + 1} of {options.rounds}: {name}", flush=True)
        requests = {name: engine.traffic.stop() for name, engine in engines.items()}
    described = {"arms": arms, "requests": requests, "columns": ["seconds", *_COUNTERS]}
    options.out.write_text(json.dumps({**heading("record"), **described, "runs": runs}) + "\n")
    report("record", **described)


if __name__ == "__main__":
    main()
