"""Faults of mode Online on this machine, in random order under traffic: what ends, what does not, and what returns.

`aurora-core online` runs on CPUs with two engines behind one endpoint and two ranks of the trainer, under a supervisor
that starts it again with the same folder where it ended. Each fault is a SIGKILL: of a rank, of an engine's actor, its
process or its agent, of an actor and both ranks at once, of the command itself, or of Ray's GCS, without which all of
Ray ends. A folder is put among an engine's samples then, which is no sample. Then there must be, in time:

- serving: no request fails for a rank or an agent, for an engine only those that it had; the other one runs on;
- training: all ranks take steps beyond the one at which the fault was;
- the lost sample, counted by the trainer or the engine's actor;
- only versions that verify and were proved on held-out requests; none is lost, and none returns that was replaced.

At the end SIGTERM must leave no process and no spool. The exit status is 1 where anything of this does not hold.
Mooncake's master is killed by soak.kills: mode Online has its own way of samples, and no Mooncake.

    PYTHONPATH=benchmarks:e2e python -m soak.online_faults --faults 20
"""

import argparse
import math
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aurora_core.cli.paths import models_folder
from aurora_core.datasets.conversations import read_prompts
from aurora_core.errors import WeightsError
from aurora_core.evaluation.requests import Stream
from aurora_core.training.publisher import UNTRAINED
from aurora_core.weights import record
from aurora_core.weights.store import WeightsStore
from aurora_demo import smollm2
from bench import ROOT, arguments, report
from transformers import AutoTokenizer
from workshop.waiting import NotInTimeError

from soak.supervised import ENGINES, RANKS, Supervised

CONCURRENCY = 1
ALL = math.inf
_ERRORS = 1.6
"""Standard errors that a version's gain must be at least: fewer than the trainer itself asks for."""
_NO_SAMPLE = "000000000000-nothing.sample"


@dataclass(frozen=True)
class Fault:
    """What is killed.

    Attributes:
        kill: does it; returns the numbers of the engines that it ends.
        failing: requests that may fail by it.
        ranks: whether it ends the trainer.
    """

    kill: Callable[[Supervised, random.Random], set[int]]
    failing: float
    ranks: bool = True


def _rank(number: int) -> Callable[[Supervised, random.Random], set[int]]:
    def kill(running: Supervised, _rng: random.Random) -> set[int]:
        running.kill(running.rank(number))
        return set()

    return kill


def _actor(running: Supervised, rng: random.Random) -> set[int]:
    number = rng.randrange(ENGINES)
    running.kill(running.actor(number))
    return {number}


def _engine(running: Supervised, rng: random.Random) -> set[int]:
    number = rng.randrange(ENGINES)
    running.kill(running.engine(number), group=True)
    return {number}


def _agent(running: Supervised, rng: random.Random) -> set[int]:
    running.kill(running.one(f"engine=engine-{rng.randrange(ENGINES)}"))
    return set()


def _several(running: Supervised, rng: random.Random) -> set[int]:
    for rank in range(RANKS):
        running.kill(running.rank(rank))
    return _actor(running, rng)


def _command(running: Supervised, _rng: random.Random) -> set[int]:
    running.kill(running.process.pid)
    return set(range(ENGINES))


def _gcs(running: Supervised, _rng: random.Random) -> set[int]:
    running.kill(running.one("gcs_server"))
    return set(range(ENGINES))


FAULTS: Mapping[str, Fault] = {
    "rank 0": Fault(_rank(0), 0),
    "rank 1": Fault(_rank(1), 0),
    "engine's actor": Fault(_actor, CONCURRENCY, ranks=False),
    "engine's process": Fault(_engine, CONCURRENCY, ranks=False),
    "an agent": Fault(_agent, 0, ranks=False),
    "an actor and both ranks": Fault(_several, CONCURRENCY),
    "the command": Fault(_command, ALL),
    "Ray's GCS": Fault(_gcs, ALL),
}


def order(faults: int, rng: random.Random) -> list[str]:
    """So many faults: each kind once in random order, then again in another."""
    found: list[str] = []
    while len(found) < faults:
        found += rng.sample(list(FAULTS), len(FAULTS))
    return found[:faults]


class Versions:
    """What was published and was live, and what must therefore be there."""

    def __init__(self, work: Path) -> None:
        self._store, self._record = WeightsStore(work / "weights"), work / "record"
        self._newest = self._live = 0

    def live(self) -> int:
        """The version that the command made live last; 0 before there was one."""
        found = record.read(self._record)
        return 0 if found is None else found.version

    def wrong(self) -> list[str]:
        """What does not hold of them now."""
        there, live = self._store.versions(), self.live()
        out = [f"version {self._newest} is gone"] if there[-1] < self._newest else []
        out += [f"version {live} is live after {self._live}"] if live < self._live else []
        self._newest, self._live = there[-1], live
        for version in there:
            try:
                manifest = self._store.verify(version)
            except WeightsError as error:
                # One may be pruned meanwhile.
                out += [str(error)] if version in self._store.versions() else []
                continue
            now, before = manifest.holdout_accept_length or 0.0, manifest.parent_holdout_accept_length or 0.0
            if manifest.parent is None or before < UNTRAINED:
                continue
            error_of_log = manifest.holdout_gain_error
            if error_of_log is None or math.log(now / before) < _ERRORS * error_of_log:
                out.append(f"version {version} was not proved: {now:.3f} after {before:.3f}")
        return out


@dataclass(frozen=True)
class Row:
    """What came of a fault.

    Attributes:
        served, trained: seconds until all engines served, and until there was a step that had not been.
        failed: requests.
        starts: of the command by its supervisor.
        wrong: what does not hold.
    """

    fault: str
    served: float
    trained: float
    failed: int
    starts: int
    wrong: tuple[str, ...]

    def text(self, number: int) -> str:
        """As a line of the table."""
        found = "; ".join(self.wrong) or "as it should be"
        figures = f"{self.served:>8.0f} {self.trained:>9.0f} {self.failed:>7} {self.starts:>7}"
        return f"{number:>3}  {self.fault:<24} {figures}  {found}"


def one(name: str, running: Supervised, traffic: Stream, versions: Versions, rng: random.Random) -> Row:
    """Inject a fault, and wait until all is as it was.

    Raises:
        NotInTimeError: something does not come back.
    """
    fault, every = FAULTS[name], range(ENGINES)
    before, engines = running.training(), [running.engine(number) for number in every]
    failed, starts = len(traffic.record.failures), running.starts
    # Counters of what is killed begin again.
    shown, counted = running.lost(), 0 if fault.ranks else sum(before.lost.values())
    began = time.monotonic()
    ended = fault.kill(running, rng)
    planted = running.spool(rng.randrange(ENGINES)) / _NO_SAMPLE
    if fault.failing < ALL:
        planted.mkdir(exist_ok=True)

    def serves() -> bool:
        new = all(running.engine(number) not in {0, engines[number]} for number in ended)
        return new and all(running.live(number) == versions.live() for number in every)

    running.wait("engines that serve what is live", serves)
    served = time.monotonic() - began
    if fault.failing == ALL:
        # Actors outlive the command by seconds: one of them could count it, and take the counter with it.
        planted.mkdir(exist_ok=True)

    def further() -> bool:
        now = running.training()
        return now.step > before.step and now.ranks == RANKS and now.loss is not None

    running.wait("further steps of all ranks", further)
    trained = time.monotonic() - began

    def is_counted() -> bool:
        by_actors = fault.failing < ALL and running.lost() > shown
        return not planted.exists() and (by_actors or sum(running.training().lost.values()) > counted)

    running.wait("the lost sample to be counted", is_counted)
    # Those that were on their way when something ended are answered, or failed, by then.
    answered = len(traffic.record.answers)
    running.wait("further answers", lambda: len(traffic.record.answers) > answered + CONCURRENCY)
    wrong = versions.wrong()
    others = [number for number in every if number not in ended and running.engine(number) != engines[number]]
    wrong += [f"engine {number} was started again" for number in others]
    failing = traffic.record.failures[failed:]
    if len(failing) > fault.failing:
        wrong.append(f"{len(failing)} requests failed: {failing[0]}")
    if fault.failing < ALL and running.starts > starts:
        wrong.append("the command ended")
    return Row(name, served, trained, len(failing), running.starts - starts, tuple(wrong))


def _rows(running: Supervised, prompts: Sequence[str], names: Sequence[str], rng: random.Random) -> Iterator[Row]:
    """Fault after fault, under traffic; ends with the first after which something does not come back."""
    versions = Versions(running.work)
    running.wait("all engines to serve", lambda: all(running.live(number) is not None for number in range(ENGINES)))
    traffic = Stream.start(running.url, prompts, CONCURRENCY, 32)
    try:
        running.wait("a trained version that is live", versions.live)
        for name in names:
            time.sleep(rng.uniform(2, 15))
            began = time.monotonic()
            try:
                yield one(name, running, traffic, versions, rng)
            except NotInTimeError as error:
                yield Row(name, math.nan, math.nan, 0, 0, (f"stuck after {time.monotonic() - began:.0f} s: {error}",))
                return
    finally:
        traffic.stop()


def main() -> None:
    """Fault after fault; then what is left after an orderly end."""
    parser = arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(config=ROOT / "examples" / "smollm2-online.yaml")
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rng = random.Random(options.seed)
    target = smollm2.materialise(models_folder())
    prompts = read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", AutoTokenizer.from_pretrained(target))
    print(f"     {'fault':<24} serves s  trains s  failed  starts", flush=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="aurora-", ignore_cleanup_errors=True) as folder:
        running = Supervised.started(options.config, Path(folder), target)
        try:
            for row in _rows(running, prompts, order(options.faults, rng), rng):
                rows.append(row)
                print(row.text(len(rows)), flush=True)
        finally:
            left = running.stop()
    report(
        "online_faults",
        seed=options.seed,
        faults=dict(Counter(row.fault for row in rows)),
        serves_seconds={name: _middle([row.served for row in rows if row.fault == name]) for name in FAULTS},
        trains_seconds={name: _middle([row.trained for row in rows if row.fault == name]) for name in FAULTS},
        failed=sum(row.failed for row in rows),
        wrong=[f"{row.fault}: {text}" for row in rows for text in row.wrong] + left,
    )
    if left or len(rows) < options.faults or any(row.wrong for row in rows):
        raise SystemExit(1)


def _middle(seconds: Sequence[float]) -> float | None:
    return round(statistics.median(seconds), 1) if seconds else None


if __name__ == "__main__":
    main()
