"""The gate by simulation: how often it is wrong, how soon it is right, against three other ways to decide.

Each trial streams requests to a stable and a candidate draft and is analysed after every batch, for a day. A
request has a geometric-like number of verify cycles, and a rate of its own (overdispersion: prompts differ in how
predictable they are), so requests and not tokens are independent. Ways to decide, all on the same streams:

- confidence sequence: the product's own (aurora_operator.promotion);
- z-test at every analysis: a fixed-horizon test, read again and again, as dashboards invite to;
- threshold: promote when the ratio is above 1 at three analyses in a row, as metric-analysis tools do;
- blind: promote at once.

Prints a table and a JSON line; --plot draws the shares over time.
"""

import argparse
import json
import math
import platform
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist

from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.assignment import candidate_slice
from aurora_operator.promotion.gate import Evidence, Verdict, decide
from aurora_operator.promotion.measure import by_slice
from aurora_operator.promotion.statistics import Sums

ANALYSES, BATCH = 288, 4
"""A day of analyses every five minutes, with so many finished requests of each side between two."""


def request(rng: random.Random, mean: float) -> tuple[float, float]:
    """Tokens and cycles of one request under a draft of this mean accept length."""
    own = mean * math.exp(rng.gauss(0, 0.18))
    cycles = 1 + int(rng.expovariate(1 / 35))
    tokens = sum(max(1.0, rng.gauss(own, 0.9)) for _ in range(min(cycles, 12))) * cycles / min(cycles, 12)
    return round(tokens), cycles


Rule = Callable[[list[tuple[Sums, Sums]]], bool | None]
"""Sums at all analyses so far in, promote (True), reject (False) or continue (None) out."""


def sequence(analyses: list[tuple[Sums, Sums]]) -> bool | None:
    """The product's gate."""
    candidate, stable = analyses[-1]
    evidence = Evidence(candidate, stable, int(candidate.n), int(stable.n))
    verdict = decide(Gate(), evidence, (), 0).verdict
    return None if verdict is Verdict.WAIT else verdict is Verdict.PROMOTE


def z_test(analyses: list[tuple[Sums, Sums]]) -> bool | None:
    """A 95 % interval of a single analysis, read at each."""
    candidate, stable = analyses[-1]
    a, b = candidate.log_variance(), stable.log_variance()
    if candidate.n < Gate().min_requests or a is None or b is None or not candidate.ratio or not stable.ratio:
        return None
    z = math.log(candidate.ratio / stable.ratio) / math.sqrt(a + b)
    limit = NormalDist().inv_cdf(0.975)
    return True if z > limit else False if z < -limit else None


def threshold(analyses: list[tuple[Sums, Sums]]) -> bool | None:
    """Above stable at three analyses in a row; below at three in a row rejects."""
    if len(analyses) < 3 or analyses[-1][0].n < Gate().min_requests:
        return None
    above = [bool(c.ratio and s.ratio and c.ratio > s.ratio) for c, s in analyses[-3:]]
    return True if all(above) else False if not any(above) else None


def blind(_: list[tuple[Sums, Sums]]) -> bool | None:
    """Newer is better."""
    return True


RULES: dict[str, Rule] = {
    "confidence sequence": sequence, "z-test at every analysis": z_test, "threshold": threshold, "blind": blind,
}  # fmt: skip


def trial(rng: random.Random, effect: float) -> dict[str, tuple[bool | None, int]]:
    """One trial; for each rule its verdict and the analysis at which it fell."""
    candidate, stable = Sums(), Sums()
    analyses: list[tuple[Sums, Sums]] = []
    verdicts: dict[str, tuple[bool | None, int]] = {}
    for analysis in range(1, ANALYSES + 1):
        candidate += Sums.of(request(rng, 2.0 * effect) for _ in range(BATCH))
        stable += Sums.of(request(rng, 2.0) for _ in range(BATCH))
        analyses.append((candidate, stable))
        for name, rule in RULES.items():
            if name not in verdicts and (verdict := rule(analyses)) is not None:
                verdicts[name] = (verdict, analysis)
        if len(verdicts) == len(RULES):
            break
    return {name: verdicts.get(name, (None, ANALYSES)) for name in RULES}


def arithmetic(deployments: int = 1000, slices: int = 100) -> float:
    """CPU seconds of one analysis at so many deployments, from a Switchback's slices to the decision."""
    rng = random.Random(0)
    rows = [(1.0, x, y, x * x, x * y, y * y) for x, y in (request(rng, 2.0) for _ in range(slices))]
    sides = [{"engine": dict(enumerate(rows))} for _ in range(2)]

    def analysis(trial: str) -> None:
        top = by_slice(sides[0], lambda at: candidate_slice(trial, at))
        bottom = by_slice(sides[1], lambda at: not candidate_slice(trial, at))
        decide(Gate(), Evidence(top, bottom, 50, 50), (), 100)

    started = time.process_time()
    for number in range(deployments):
        analysis(str(number))
    return time.process_time() - started


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    effects = (0.95, 1.0, 1.05, 1.1, 1.25)
    results = {}
    for effect in effects:
        rng = random.Random(int(1000 * effect))
        results[effect] = [trial(rng, effect) for _ in range(options.trials)]
    print(f"{'candidate / stable':20}" + "".join(f"{name:>24}" for name in RULES))
    print(f"{'':20}" + "".join(f"{'promoted  median analyses':>24}" for _ in RULES))
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for effect, trials in results.items():
        cells = ""
        for name in RULES:
            promoted = sum(t[name][0] is True for t in trials) / len(trials)
            decided = sorted(t[name][1] for t in trials)
            median = decided[len(decided) // 2]
            cells += f"{promoted:15.1%} {median:8d}"
            figures.setdefault(name, {})[str(effect)] = {"promoted": promoted, "median_analyses": median}
        print(f"{effect:<20}{cells}")
    if options.plot:
        plot(results, options.plot)
    print(
        json.dumps(
            {
                "benchmark": "gate",
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": platform.machine(),
                "python": platform.python_version(),
                "trials": options.trials,
                "analyses": ANALYSES,
                "requests_per_analysis": BATCH,
                "cpu_seconds_for_1000_deployments": round(arithmetic(), 3),
                "rules": figures,
            }
        )
    )


def plot(results: dict[float, list[dict[str, tuple[bool | None, int]]]], path: Path) -> None:
    """Share promoted by each analysis, an equal candidate left and a better one right."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 (only for the picture)

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, effect, title in (
        (axes[0], 1.0, "equal candidate: every promotion is wrong"),
        (axes[1], 1.1, "10 % better"),
    ):
        trials = results[effect]
        for name in RULES:
            at = sorted(t[name][1] for t in trials if t[name][0] is True)
            xs = [0, *at, ANALYSES]
            ys = [0, *(100 * (i + 1) / len(trials) for i in range(len(at))), 100 * len(at) / len(trials)]
            axis.step(xs, ys, where="post", label=name)
        axis.axhline(5, color="grey", lw=0.8, ls=":")
        axis.set(
            title=title,
            xlabel=f"analyses, {BATCH} requests of each side between two",
            xscale="log",
            xlim=(0.9, ANALYSES),
        )
    axes[0].set_ylabel("promoted, % of trials")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
