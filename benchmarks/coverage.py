"""Does the gate's interval hold on real traffic? Recorded counters of a real engine, dealt into trials at random.

benchmarks/record.py wrote down what each draft's counters were, second by second. Here a trial draws from the
candidate's record and from the stable one's, is analysed again and again, and checks whether the interval holds
the ratio of the whole records. Where candidate and stable are the same record, the truth is 1, and every verdict but
waiting is wrong.

Both strategies are tried, each as it deals: time slices one by one (Canary, where pods take turns), and in blocks of
neighbours (Switchback), so that slow drift stays in. Printed beside them: the lag-1 autocorrelation of what a slice has
above the record's ratio, and by how much the variance from slices exceeds that from requests; at 1 the requests of a
slice are independent, and above it they are not.

Dealt so, a machine that slowly changed its speed counts as if the two sides had met it apart. A Switchback's sides meet
it together, so each record is also dealt in place: its own slices in their order, of each pair one to each side.
"""

import argparse
import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path

from aurora_operator.promotion.counters import increments
from aurora_operator.promotion.statistics import Sums, compare

RECORDED = Path(__file__).parent / "recorded.json"
BLOCKS = {"Canary": 1, "Switchback": 2}
"""Neighbouring slices that are dealt together."""
CONFIDENCE = 0.95
FIRST_ANALYSIS = 4
"""Slices of each side before the first analysis, as Gate.min_slices asks."""


@dataclass(frozen=True)
class Record:
    """One arm's counters of one metric.

    Attributes:
        slices: the increments of a time slice each.
    """

    slices: list[Sums]

    @property
    def total(self) -> Sums:
        """All of it."""
        return sum(self.slices, Sums())

    @property
    def by_slice(self) -> Sums:
        """All of it, slices as units."""
        return Sums.of((one.x, one.y) for one in self.slices)

    def autocorrelation(self) -> float:
        """Lag 1, of what a slice has above the record's ratio."""
        ratio = self.total.ratio or 1.0
        rest = [one.x - ratio * one.y for one in self.slices]
        return sum(a * b for a, b in itertools.pairwise(rest)) / sum(a * a for a in rest)

    def excess(self) -> float:
        """Variance of the log ratio by slices over that by requests."""
        by_slice, by_request = self.by_slice.log_variance(), self.total.log_variance()
        return by_slice / by_request if by_slice and by_request else 1.0

    def deal(self, rng: random.Random, count: int, block: int) -> list[Sums]:
        """So many slices, with replacement, as what each analysis adds."""
        out: list[Sums] = []
        while len(out) < count:
            at = rng.randrange(len(self.slices) - block + 1)
            out += [Sums.of([(one.x, one.y)]) for one in self.slices[at : at + block]]
        return out[:count]


def read(path: Path, slice_seconds: float) -> dict[str, dict[str, Record]]:
    """Records by metric and arm."""
    reported = json.loads(path.read_text())
    out: dict[str, dict[str, Record]] = {"accept length": {}, "decode speed": {}}
    for arm, rows in reported["rows"].items():
        for metric, first in (("accept length", 1), ("decode speed", 7)):
            samples = [(row[0], tuple(row[first : first + 6])) for row in rows]
            added = [(at, Sums(*row)) for at, row in increments(samples, samples[0][0], from_zero=False) if row[0]]
            slices: dict[int, Sums] = {}
            for at, sums in added:
                number = int(at // slice_seconds)
                slices[number] = slices.get(number, Sums()) + sums
            found = [one for _, one in sorted(slices.items()) if one.x > 0 and one.y > 0]
            # Without speculation accept length is 1 by definition, and there is nothing to be estimated.
            if found and sum(found, Sums()).log_variance():
                out[metric][arm] = Record(found)
    return out


@dataclass(frozen=True)
class Outcome:
    """Shares of trials: the truth was outside at some analysis; the gate would have promoted, rejected."""

    missed: float
    promoted: float
    rejected: float


def trials(candidate: Record, stable: Record, *, block: int, count: int, length: int, seed: int) -> Outcome:
    """Deal and analysis."""
    top, bottom = candidate.total.ratio or 1.0, stable.total.ratio or 1.0
    truth = top / bottom
    missed = promoted = rejected = 0
    rng = random.Random(seed)
    for _ in range(count):
        sides = [record.deal(rng, length, block) for record in (candidate, stable)]
        outside, verdict = False, 0
        sums = [Sums(), Sums()]
        for analysis in range(length):
            for side in (0, 1):
                sums[side] += sides[side][analysis]
            interval = compare(sums[0], sums[1], CONFIDENCE) if analysis + 1 >= FIRST_ANALYSIS else None
            if interval is None:
                continue
            outside = outside or not interval.lower <= truth <= interval.upper
            verdict = verdict or (interval.lower > 1) - (interval.upper < 1)
        missed += outside
        promoted += verdict > 0
        rejected += verdict < 0
    return Outcome(missed / count, promoted / count, rejected / count)


def in_place(record: Record, *, count: int, seed: int) -> float:
    """The share of trials in which one record's own slices, dealt in pairs as they came, differ from themselves."""
    rng = random.Random(seed)
    missed = 0
    for _ in range(count):
        sides, outside = [Sums(), Sums()], False
        for analysis, pair in enumerate(zip(record.slices[::2], record.slices[1::2], strict=False)):
            first = rng.randrange(2)
            for side, one in ((first, pair[0]), (1 - first, pair[1])):
                sides[side] += Sums.of([(one.x, one.y)])
            interval = compare(sides[0], sides[1], CONFIDENCE) if analysis + 1 >= FIRST_ANALYSIS else None
            outside = outside or (interval is not None and not interval.lower <= 1 <= interval.upper)
        missed += outside
    return missed / count


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--slice-seconds", type=float, default=15)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--slices", type=int, default=60, help="of each side in a trial")
    options = parser.parse_args()
    found = read(options.recorded, options.slice_seconds)
    reported = json.loads(options.recorded.read_text())
    rows = []
    columns = f"{'missed':>7} {'promoted':>9} {'rejected':>9}"
    print(f"{'metric':14} {'candidate':>9} {'stable':>7} {'ratio':>6} {'strategy':>10} {columns}")
    for metric, arms in found.items():
        for name, record in arms.items():
            alone = in_place(record, count=options.trials, seed=0)
            rows.append({"metric": metric, "candidate": name, "stable": name, "strategy": "in place", "missed": alone})
            print(f"{metric:14} {name:>9}: {record.total.n:.0f} requests in {len(record.slices)} slices, lag-1 "
                  f"autocorrelation {record.autocorrelation():+.2f}, variance by slices / by requests "
                  f"{record.excess():.2f}, missed in place {alone:.2%}")  # fmt: skip
        for top, candidate in arms.items():
            for bottom, stable in arms.items():
                ratio = (candidate.total.ratio or 1.0) / (stable.total.ratio or 1.0)
                for strategy, block in BLOCKS.items():
                    seen = trials(candidate, stable, block=block, count=options.trials, length=options.slices, seed=0)
                    rows.append({"metric": metric, "candidate": top, "stable": bottom, "strategy": strategy,
                                 "ratio": round(ratio, 4), **vars(seen)})  # fmt: skip
                    print(f"{metric:14} {top:>9} {bottom:>7} {ratio:6.3f} {strategy:>10} {seen.missed:7.2%} "
                          f"{seen.promoted:9.2%} {seen.rejected:9.2%}")  # fmt: skip
    print(json.dumps({"benchmark": "coverage", "recorded": {k: reported[k] for k in ("date", "machine", "sglang")},
                      "trials": options.trials, "slices": options.slices, "rows": rows}))  # fmt: skip


if __name__ == "__main__":
    main()
