"""Does the gate keep its word on real traffic? Recorded counters of real engines, dealt into trials by the coin.

benchmarks/record.py wrote each draft's counters down, second by second, on two unequal engines under mixed and bursting
traffic. Their time slices go through the product's own coin, blocks and verdicts, as a Switchback of one engine or of
both, and as a Canary in which the two take turns:

- *in place*, a draft against itself: its own slices in their order, of each pair one to each arm by the coin. The truth
  is 1, and each verdict is wrong.
- *drawn*, a draft against another: slices of a round of the recording, drawn with replacement, in which both served.
  How often, and after how many blocks, the better one is promoted.

Prints of each trial's kind the shares promoted and rejected, and the median number of blocks.
"""

import argparse
import functools
import itertools
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from aurora_core.protocol.engine import ArmCounters, measured
from aurora_operator.api.promotion import Gate
from aurora_operator.promotion import blocks
from aurora_operator.promotion.assignment import canaries, candidate_slice
from aurora_operator.promotion.blocks import MEASURES, WARM_UP, Dealt, Trial, crossover, switchback
from aurora_operator.promotion.counters import NAMES, Arm, Counters, Row, Slices
from aurora_operator.promotion.eprocess import Block, log_e_down, log_e_up
from aurora_operator.promotion.gate import Evidence, Verdict, decide

RECORDED = Path(__file__).parent / "recorded.json"
GATE = Gate(min_worthwhile=0)
"""A verdict says better or not better: what is hardly better is not rejected here."""
LIMIT = -math.log(1 - GATE.confidence)

Record = Sequence[Mapping[str, Sequence[Row]]]
"""A draft's work: by round and engine, in each time slice."""


@dataclass(frozen=True)
class Kind:
    """How trials are dealt: on which engines, and whether they take turns."""

    name: str
    engines: tuple[str, ...]
    canary: bool = False

    def serve(self, trial: str, at: int) -> Collection[str]:
        """The engines that serve the candidate in a slice."""
        if self.canary:
            return canaries(trial, at, self.engines, 1)
        return self.engines if candidate_slice(trial, at) else ()

    def dealt(self, trial: str, candidate: Counters, stable: Counters, slices: int) -> Dealt:
        """The product's blocks."""
        if self.canary:
            return crossover(candidate, stable, slices)
        return switchback(candidate, stable, lambda at: candidate_slice(trial, at), slices)


KINDS = (
    Kind("Switchback, quick engine", ("quick",)),
    Kind("Switchback, slow engine", ("slow",)),
    Kind("Switchback, both", ("quick", "slow")),
    Kind("Canary of the two", ("quick", "slow"), canary=True),
)


def _slices(rows: Sequence[Sequence[float]], columns: Sequence[int], slice_seconds: float) -> list[Row]:
    """An engine's work in each full slice of a run; between two scrapes as if it had been even."""
    table = np.array(rows)
    borders = slice_seconds * np.arange(int(table[-1, 0] / slice_seconds) + 1)
    at = [np.interp(borders, table[:, 0], table[:, column]) for column in columns]
    return [Row(*map(float, row)) for row in np.diff(at).T]


def read(reported: Mapping[str, Any], slice_seconds: float) -> dict[str, Record]:
    """What each draft did, from a recording."""
    exported = {str(metric): name for name, metric in measured(ArmCounters)}
    columns = [reported["columns"].index(exported[name]) for name in NAMES]
    found = defaultdict(list)
    for run in sorted(reported["runs"], key=lambda run: run["round"]):
        by_engine = {name: _slices(rows, columns, slice_seconds) for name, rows in run["rows"].items()}
        length = min(map(len, by_engine.values())) // 2 * 2
        found[run["arm"]].append({name: slices[:length] for name, slices in by_engine.items()})
    return dict(found)


def _arms(kind: Kind) -> tuple[Counters, Counters]:
    """Candidate's and stable's counters, of nothing yet."""
    mine, other = (Counters(Arm(version, 3), 0.0, from_zero=True, length=1.0) for version in (2, 1))
    for counters in (mine, other):
        counters.engines = {name: Slices() for name in kind.engines}
    return mine, other


def in_place(kind: Kind, record: Record, trial: str) -> Dealt:
    """A draft against itself, in its own slices."""
    slices = {name: list(itertools.chain.from_iterable(part[name] for part in record)) for name in kind.engines}
    mine, other = _arms(kind)
    for name, done in slices.items():
        for at, row in enumerate(done):
            counters = mine if name in kind.serve(trial, at) else other
            counters.engines[name].inside[at] = row
    return kind.dealt(trial, mine, other, len(slices[kind.engines[0]]))


def drawn(kind: Kind, candidate: Record, stable: Record, trial: str, count: int) -> Dealt:
    """So many blocks of slices in which two drafts served in the same round."""
    rng, (mine, other) = random.Random(trial), _arms(kind)
    slices = 2 * (count + WARM_UP)
    for at in range(slices):
        if at % 2 == 0:
            number = rng.randrange(len(candidate))
        # What both engines did at the same time stays together.
        moment = rng.random()
        serving = kind.serve(trial, at)
        for name in kind.engines:
            counters, record = (mine, candidate) if name in serving else (other, stable)
            done = record[number][name]
            counters.engines[name].inside[at] = done[int(moment * len(done))]
    return kind.dealt(trial, mine, other, slices)


def decided(dealt: Dealt, metric: str) -> tuple[Verdict, int]:
    """The first verdict, and after how many blocks; by one metric alone, as the others could only keep it back."""
    found: tuple[Block, ...] = blocks.measured(dealt, MEASURES[metric]).blocks
    for count in range(1, len(found) + 1):
        some = found[:count]
        if max(log_e_up(some, 0.0), log_e_down(some, 0.0)) >= LIMIT:
            evidence = Evidence(Trial(some), candidate_requests=1000, stable_requests=1000)
            verdict = decide(GATE, evidence, (), 0.0).verdict
            if verdict is not Verdict.WAIT:
                return verdict, count
    return Verdict.WAIT, len(found)


def ratio(metric: str, candidate: Record, stable: Record) -> float:
    """Of all that was recorded, on both engines."""
    value = MEASURES[metric].value

    def of(record: Record) -> float:
        rows = (row for part in record for done in part.values() for row in done)
        found = value(functools.reduce(Row.plus, rows))
        return math.nan if found is None else found

    return math.exp(of(candidate) - of(stable))


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--slice-seconds", type=float, default=5)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=60, help="of a drawn trial")
    parser.add_argument("--equal", action="store_true", help="only each draft against itself")
    options = parser.parse_args()
    reported = json.loads(options.recorded.read_text())
    found = read(reported, options.slice_seconds)
    rows = []
    print("Promoted, rejected, and median blocks.")
    print(f"| metric | candidate / stable | ratio | {' | '.join(kind.name for kind in KINDS)} |")
    print("|---" * (3 + len(KINDS)) + "|", flush=True)
    for metric in ("AcceptLength", "DecodeSpeed"):
        # Without speculation accept length is 1 by definition.
        arms = [arm for arm in found if metric == "DecodeSpeed" or arm != "none"]
        for candidate, stable in itertools.product(sorted(arms), repeat=2):
            if options.equal and candidate != stable:
                continue
            cells = []
            for kind in KINDS:
                verdicts = []
                for seed in range(options.trials):
                    trial = f"recorded/{metric}/{candidate}/{stable}/{kind.name}/{seed}"
                    dealt = (
                        in_place(kind, found[candidate], trial)
                        if candidate == stable
                        else drawn(kind, found[candidate], found[stable], trial, options.blocks)
                    )
                    verdicts.append(decided(dealt, metric))
                share = {key: n / len(verdicts) for key, n in Counter(verdict for verdict, _ in verdicts).items()}
                promoted, rejected = (share.get(verdict, 0.0) for verdict in (Verdict.PROMOTE, Verdict.REJECT))
                middle = median(count for _, count in verdicts)
                cells.append(f"{promoted:.1%}, {rejected:.1%}, {middle:.0f}")
                rows.append({"metric": metric, "candidate": candidate, "stable": stable, "kind": kind.name,
                             "promoted": promoted, "rejected": rejected, "median_blocks": middle})  # fmt: skip
            plain = ratio(metric, found[candidate], found[stable])
            print(f"| {metric} | {candidate} / {stable} | {plain:.3f} | {' | '.join(cells)} |", flush=True)
    described = {key: value for key, value in reported.items() if key != "runs"}
    settings = {"slice_seconds": options.slice_seconds, "trials": options.trials, "blocks": options.blocks}
    print(json.dumps({"benchmark": "recorded_trials", "recorded": described, **settings, "rows": rows}))


if __name__ == "__main__":
    main()
