"""Does the gate keep its word on real traffic? Recorded counters of a real engine, dealt into trials by the coin.

benchmarks/record.py wrote down each draft's counters, second by second. *In place*, a record is dealt against itself:
its own slices in their order, of each pair one to each arm by a coin, as a Switchback does. Candidate and stable are
then the same draft, the truth is 1, and each verdict is wrong. *Drawn*, slices of one draft's record meet slices of
another's, drawn with replacement: how often, and after how many blocks, the better one is promoted.
"""

import argparse
import itertools
import json
import math
import random
from pathlib import Path
from statistics import median

from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import Block, log_e_down, log_e_up
from aurora_operator.promotion.gate import Evidence, Verdict, decide

RECORDED = Path(__file__).parent / "recorded.json"
METRICS = {"accept length": ("accept_tokens", "accept_cycles"), "decode speed": ("decode_tokens", "decode_seconds")}
GATE = Gate(min_worthwhile=0)
"""A verdict says better or not better: what is hardly better is not rejected here."""
LIMIT = -math.log(1 - GATE.confidence)

Slice = tuple[float, float]


def read(path: Path, metric: str, slice_seconds: float) -> dict[str, list[Slice]]:
    """What each draft added in each time slice: (x, y)."""
    reported = json.loads(path.read_text())
    top, bottom = (reported["columns"].index(name) for name in METRICS[metric])
    out: dict[str, list[Slice]] = {}
    for arm, rows in reported["rows"].items():
        slices: dict[int, Slice] = {}
        for one, other in itertools.pairwise(rows):
            at = int(other[0] // slice_seconds)
            x, y = slices.get(at, (0.0, 0.0))
            slices[at] = (x + other[top] - one[top], y + other[bottom] - one[bottom])
        found = [row for _, row in sorted(slices.items()) if min(row) > 0]
        # Without speculation accept length is 1 by definition.
        if found and any(x != y for x, y in found):
            out[arm] = found
    return out


def _block(candidate: Slice, stable: Slice) -> Block:
    difference = math.log(candidate[0] / candidate[1]) - math.log(stable[0] / stable[1])
    return Block(difference, 2 / (1 / candidate[0] + 1 / stable[0]))


def _decided(blocks: list[Block]) -> tuple[int, int]:
    """1 for promoted, -1 for rejected, 0 for neither; and after how many blocks."""
    for count in range(1, len(blocks) + 1):
        if max(log_e_up(blocks[:count], 0.0), log_e_down(blocks[:count], 0.0)) >= LIMIT:
            trial = Trial(tuple(blocks[:count]))
            verdict = decide(GATE, Evidence(trial, candidate_requests=1000, stable_requests=1000), (), 0.0).verdict
            if verdict is not Verdict.WAIT:
                return (1 if verdict is Verdict.PROMOTE else -1), count
    return 0, len(blocks)


def in_place(record: list[Slice], rng: random.Random) -> list[Block]:
    """A record's own pairs, each dealt by the coin."""
    pairs = [pair if rng.random() < 0.5 else pair[::-1] for pair in zip(record[::2], record[1::2], strict=False)]
    return [_block(*pair) for pair in pairs]


def drawn(candidate: list[Slice], stable: list[Slice], rng: random.Random, count: int) -> list[Block]:
    """So many blocks of slices drawn from both records."""
    return [_block(rng.choice(candidate), rng.choice(stable)) for _ in range(count)]


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--slice-seconds", type=float, default=15)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=60, help="of a drawn trial")
    options = parser.parse_args()
    rows = []
    print(f"{'metric':14} {'candidate / stable':20} {'ratio':>6} {'promoted':>9} {'rejected':>9} {'median blocks':>14}")
    for metric in METRICS:
        found = read(options.recorded, metric, options.slice_seconds)
        for candidate, stable in itertools.product(found, found):
            rng = random.Random(f"{metric}{candidate}{stable}")
            ratio = math.prod(sum(column) ** sign for column, sign in (
                *zip(zip(*found[candidate], strict=True), (1, -1), strict=True),
                *zip(zip(*found[stable], strict=True), (-1, 1), strict=True),
            ))  # fmt: skip
            verdicts = [
                _decided(
                    in_place(found[candidate], rng)
                    if candidate == stable
                    else drawn(found[candidate], found[stable], rng, options.blocks)
                )
                for _ in range(options.trials)
            ]
            promoted, rejected = (sum(v == sign for v, _ in verdicts) / len(verdicts) for sign in (1, -1))
            blocks = median(count for _, count in verdicts)
            numbers = f"{ratio:6.3f} {promoted:9.2%} {rejected:9.2%} {blocks:14.0f}"
            print(f"{metric:14} {candidate + ' / ' + stable:20} {numbers}")
            rows.append({"metric": metric, "candidate": candidate, "stable": stable, "ratio": round(ratio, 4),
                         "promoted": promoted, "rejected": rejected, "median_blocks": blocks})  # fmt: skip
    heading = {k: v for k, v in json.loads(options.recorded.read_text()).items() if k != "rows"}
    settings = {"slice_seconds": options.slice_seconds, "trials": options.trials}
    print(json.dumps({"benchmark": "recorded_trials", "recorded": heading, **settings, "rows": rows}))


if __name__ == "__main__":
    main()
