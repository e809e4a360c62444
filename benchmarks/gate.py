"""The gate by simulation: how often it is wrong, how soon it is right, beside four other ways to decide.

benchmarks/traffic.py simulates trials under the conditions of benchmarks/conditions.py: traffic, fleet and operator.
Counters are scraped as Prometheus would, and go through the product's own functions to a verdict. Other ways get the
same work, exactly, by time slice:

- slices: an always-valid interval with time slices as independent units (this gate until version 0.1);
- z-test: a fixed-horizon test over slices, read at every analysis, as dashboards invite to;
- threshold: promote when the ratio is above 1 at three analyses in a row, as metric-analysis tools do.

Promoting every version at once ("blind") is wrong in each of these trials where the draft is not better. Prints a table
and a JSON line; --plot draws it.
"""

import argparse
import bisect
import json
import math
import os
import platform
import random
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist, median

import pieces
from aurora_core.config.strata import OTHER
from aurora_operator.api.promotion import Gate, Strata, Stratum
from aurora_operator.promotion.assignment import candidate_slice
from aurora_operator.promotion.blocks import MEASURES, Dealt, Trial, crossover, measured, switchback
from aurora_operator.promotion.counters import Counters
from aurora_operator.promotion.eprocess import Block, log_e_down, log_e_up
from aurora_operator.promotion.gate import HARM, Evidence, Verdict, decide
from aurora_operator.promotion.statistics import Sums, half_width
from aurora_operator.promotion.strata import harmed, stratified
from conditions import CONDITIONS
from traffic import NEW, OLD, Outcome, simulate
from trial_condition import Condition

ALPHA = 1 - Gate().confidence
FUTILE = math.log1p(Gate().min_worthwhile)
"""An analysis can end a trial where the bet on better, or the one on less than this, has grown to 1 / alpha."""
EFFECTS = (1.0, 0.98, 1.05)
RULES = ("gate", "slices", "z-test", "threshold")
Decided = tuple[bool | None, float]
"""Promoted, rejected or (None) undecided; and after how many minutes."""


def _units(outcome: Outcome, at: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Slices of each engine before one, candidate's and stable's; which one it served is what it mostly did."""
    sides = []
    for mine, other in ((NEW, OLD), (OLD, NEW)):
        found = outcome.cells[mine]
        sides.append([
            row for (engine, number), row in sorted(found.items(), key=lambda one: one[0][1])
            if number < at and row[1] > outcome.cells[other].get((engine, number), (0.0, 0.0))[1] and row[0] > 0
        ])  # fmt: skip
    return sides[0], sides[1]


def _gate(condition: Condition, outcome: Outcome) -> Decided:
    """The product's."""
    slices = int(condition.hours * 3600 / condition.slice_seconds)

    def dealt_of(mine: Counters, other: Counters) -> Dealt:
        if condition.engines == 1:
            return switchback(mine, other, lambda at: candidate_slice(outcome.trial, at), slices, outcome.cut)
        return crossover(mine, other, slices, outcome.cut)

    dealt = dealt_of(outcome.candidate, outcome.stable)
    if condition.domains:
        return _with_strata(condition, dealt, {name: dealt_of(*pair) for name, pair in outcome.strata.items()})
    trial, *harms = (
        measured(dealt, MEASURES[name]) for name in ("AcceptLength", "DecodeSpeed", "Failures", "FirstToken")
    )
    limit = -math.log(ALPHA)
    harmful = (condition.cost, condition.failing, condition.waiting) != (1.0, 0.0, 1.0)
    for count in range(6, len(trial.blocks) + 1):
        blocks = trial.blocks[:count]
        if harmful or max(log_e_up(blocks, 0.0), log_e_down(blocks, FUTILE)) >= limit:
            speed, failures, first_token = (Trial(one.blocks[:count]) for one in harms)
            evidence = Evidence(Trial(blocks), speed, failures, first_token, 1000, 1000)
            verdict = decide(Gate(), evidence, (), 0.0).verdict
            if verdict is not Verdict.WAIT:
                # Blocks that are void take their time too.
                share = count / (len(trial.blocks) + trial.void)
                return verdict is Verdict.PROMOTE, 60 * condition.hours * share
    return None, 60 * condition.hours


def _until(dealt: Dealt, block: int) -> Dealt:
    """What was there when so many blocks were over."""
    count = bisect.bisect_left(dealt.numbers, block)
    return Dealt(dealt.pairs[:count], dealt.void, dealt.numbers[:count])


def _with_strata(condition: Condition, dealt: Dealt, by_stratum: dict[str, Dealt]) -> Decided:
    """The same with a stratum for each domain, and nobody in ``other``."""
    named = [Stratum(name=one.name, values=[one.name], weight=one.weight) for one in condition.domains]
    spec = Strata(by="Header", header="x-domain", named=named)
    limit = -math.log(ALPHA)
    blocks = int(condition.hours * 3600 / condition.slice_seconds) // 2
    for block in range(7, blocks + 1):
        at = _until(dealt, block)
        trial, speed = (measured(at, MEASURES[name]) for name in ("AcceptLength", "DecodeSpeed"))
        strata = {**{name: _until(one, block) for name, one in by_stratum.items()}, OTHER: Dealt()}
        parts = stratified(spec, "AcceptLength", strata, by_stratum, trial, speed)
        mean = parts.trial.blocks
        if max(log_e_up(mean, 0.0), log_e_down(mean, FUTILE)) >= limit or harmed(parts.strata, HARM):
            evidence = Evidence(
                parts.trial, parts.speed, candidate_requests=1000, stable_requests=1000, strata=parts.strata
            )
            verdict = decide(Gate(), evidence, (), 0.0).verdict
            if verdict is not Verdict.WAIT:
                return verdict is Verdict.PROMOTE, 2 * block * condition.slice_seconds / 60
    return None, 60 * condition.hours


def _others(condition: Condition, outcome: Outcome) -> dict[str, Decided]:
    slices = int(condition.hours * 3600 / condition.slice_seconds)
    undecided: Decided = (None, 60 * condition.hours)
    out = {"slices": undecided, "z-test": undecided, "threshold": undecided}
    done: set[str] = set()
    row = 0
    limit = NormalDist().inv_cdf(0.975)
    for at in range(4, slices + 1, max(1, slices // 60)):
        top, bottom = (Sums.of(side) for side in _units(outcome, at))
        above, below = top.ratio, bottom.ratio
        a, b = top.log_variance(), bottom.log_variance()
        if min(top.n, bottom.n) < 4 or above is None or below is None or a is None or b is None or a + b <= 0:
            continue
        center = math.log(above / below)
        sign = int(math.copysign(1, center))
        row = row + sign if row * sign >= 0 else sign
        width = half_width(max(a + b, 1e-8), ALPHA)
        signs = {
            "slices": (center > width) - (center < -width),
            "z-test": (center > limit * math.sqrt(a + b)) - (center < -limit * math.sqrt(a + b)),
            "threshold": (row >= 3) - (row <= -3),
        }
        for name, verdict in signs.items():
            if verdict and name not in done:
                done.add(name)
                out[name] = (verdict > 0, at * condition.slice_seconds / 60)
        if len(done) == len(out):
            break
    return out


def trial(job: tuple[int, float, int]) -> dict[str, Decided]:
    """One simulated trial: the verdict by each rule. The job is a condition's number, the effect and a seed."""
    number, effect, seed = job
    condition = CONDITIONS[number]
    outcome = simulate(condition, effect, seed)
    return {"gate": _gate(condition, outcome), **_others(condition, outcome)}


@dataclass(frozen=True)
class Cell:
    """Shares of a condition's trials, and the median minutes to a verdict."""

    promoted: float
    rejected: float
    minutes: float


def summary(found: Sequence[dict[str, Decided]]) -> dict[str, Cell]:
    """Of each rule."""
    out = {}
    for rule in RULES:
        verdicts = [one[rule] for one in found]
        n = len(verdicts)
        out[rule] = Cell(
            sum(v is True for v, _ in verdicts) / n, sum(v is False for v, _ in verdicts) / n,
            median(minutes for _, minutes in verdicts),
        )  # fmt: skip
    return out


def arithmetic(deployments: int = 1000, blocks: int = 50) -> float:
    """CPU seconds of one analysis at so many deployments, from blocks to the decision."""
    rng = random.Random(0)
    evidence = Evidence(
        Trial(tuple(Block(rng.gauss(0, 0.1), 1000.0) for _ in range(blocks))),
        candidate_requests=100,
        stable_requests=100,
    )
    started = time.process_time()
    for _ in range(deployments):
        decide(Gate(), evidence, (), 100)
    return time.process_time() - started


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="of each condition and effect")
    parser.add_argument("--effects", type=float, nargs="+", default=EFFECTS, help="of the candidates, as ratios")
    parser.add_argument("--condition", default="", help="only those whose name contains this")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="a line for each condition; what it has is not run again")
    options = parser.parse_args()
    if options.plot and not {1.0, 1.05} <= set(options.effects):
        parser.error("--plot shows the effects 1 and 1.05: leave --effects out, or name both")
    chosen = [c for c, condition in enumerate(CONDITIONS) if options.condition in condition.name]
    effects = tuple(options.effects)
    table = _known(options.out, options.trials)
    named = ", ".join(f"{effect:g}" for effect in effects)
    print(f"Promoted of drafts with {named} times stable's accept length; median minutes to a verdict on the last.")
    print("| condition | " + " | ".join(RULES) + " |")
    print("|---" * (1 + len(RULES)) + "|", flush=True)
    with ProcessPoolExecutor(options.workers) as pool:
        for number in chosen:
            missing = [effect for effect in effects if (number, effect) not in table]
            for effect in missing:
                jobs = [(number, effect, seed) for seed in range(options.trials)]
                table[number, effect] = summary(list(pool.map(trial, jobs, chunksize=20)))
            cells = []
            for rule in RULES:
                shares = [f"{table[number, effect][rule].promoted:.1%}" for effect in effects]
                cells.append(", ".join([*shares, f"{table[number, effects[-1]][rule].minutes:.0f}"]))
            print(f"| {CONDITIONS[number].name} | " + " | ".join(cells) + " |", flush=True)
            if missing:
                pieces.append(options.out, {"trials": options.trials, "rows": _rows(table, (number,))})
    if options.plot:
        plot(table, options.plot)
    heading = {
        "benchmark": "gate",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    cpu = {"cpu_seconds_for_1000_deployments": round(arithmetic(), 3)}
    print(json.dumps({**heading, "trials": options.trials, **cpu, "rows": _rows(table, chosen)}))


def _known(path: Path | None, trials: int) -> dict[tuple[int, float], dict[str, Cell]]:
    """What an earlier run with as many trials wrote."""
    numbers = {condition.name: number for number, condition in enumerate(CONDITIONS)}
    table: dict[tuple[int, float], dict[str, Cell]] = {}
    for row in (row for line in pieces.earlier(path) if line["trials"] == trials for row in line["rows"]):
        cell = Cell(row["promoted"], row["rejected"], row["minutes"])
        table.setdefault((numbers[row["condition"]], row["effect"]), {})[row["rule"]] = cell
    return table


def _rows(table: dict[tuple[int, float], dict[str, Cell]], numbers: Sequence[int]) -> list[dict[str, object]]:
    """What was measured under some conditions."""
    return [
        {"condition": CONDITIONS[c].name, "effect": effect, "rule": rule, **asdict(cell)}
        for (c, effect), cells_of in table.items()
        for rule, cell in cells_of.items()
        if c in numbers
    ]


def plot(table: dict[tuple[int, float], dict[str, Cell]], path: Path) -> None:
    """Share of equal drafts promoted under each condition, and of better ones."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 (only for the picture)

    shown = sorted({number for number, _ in table})
    size = (13, 2 + len(shown) / 4)
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained")
    ys = range(len(shown))
    for axis, effect, title in (
        (axes[0], 1.0, "equal draft promoted, % (every one is wrong)"),
        (axes[1], 1.05, "5 % better draft promoted, %"),
    ):
        for rule, marker in zip(RULES, "osx|", strict=True):
            axis.plot([100 * table[c, effect][rule].promoted for c in shown], list(ys), marker, label=rule)
        axis.axvline(100, color="tab:purple", lw=0.8, label="blind")
        axis.set(title=title, xlim=(-2, 102))
        axis.grid(axis="y", color="0.92")
    axes[0].axvline(100 * ALPHA, color="grey", lw=0.8, ls=":")
    axes[0].set_yticks(list(ys), [CONDITIONS[c].name for c in shown])
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
