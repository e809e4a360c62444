"""Many engines that feed one trainer: what share of samples it can take, what that costs, and how old a draft is.

A simulation, of one queue after the other: requests end at random moments in any of the engines; what the sample rate
lets through crosses the link of rank 0; the pool takes it; each optimizer step draws the samples that were used least;
every so many steps a version is published and, in these figures, goes live at once. The sample rate is the largest at
which neither the link nor the trainer falls behind. ``--check FILE`` compares it with runs of benchmarks/modes.py.
"""

import argparse
import json
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from fed_pool import Group, simulate
from sizing import formulas
from sizing.shape import Draft, Target
from sizing.targets import DRAFT_8B, DRAFT_KIMI, KIMI_K25, QWEN3_8B

MEASURED_TOKENS, MEASURED_DRAFT = 26_800, 424_689_664
"""Trained tokens a second of one H100 in steps of 8,192 tokens (docs/results.md), and that draft's parameters: width
4,096, MLP 14,336, 32,000 tokens. Other drafts are taken to be as much slower as they are larger."""
RANK_EFFICIENCY = 0.8
"""Of each rank beyond the first. Not measured on GPUs: what two ranks must have to be 1.6 times one."""

POOL = 1000
EVERY = 50
"""Steps from one version to the next."""
PUBLISH_SECONDS = 15.0
"""Of evaluation and publication. Not measured on a GPU."""
LEFT = 0.9
"""Share of link and trainer that is planned with: the rest is for bursts."""


def trained_per_second(draft: Draft, tokens: float, ranks: int) -> float:
    """Samples a second of so many H100, each sample with so many generated tokens."""
    one = MEASURED_TOKENS * MEASURED_DRAFT / draft.parameters / tokens
    return one * (1 + RANK_EFFICIENCY * (ranks - 1))


@dataclass(frozen=True)
class Case:
    """A target with assumed traffic.

    Attributes:
        requests: a second of one engine.
        gpus: of one engine.
        tokens, generated: of a request, and how many of them are its answer's.
    """

    name: str
    target: Target
    draft: Draft
    requests: float
    gpus: int
    tokens: int
    generated: int


CASES = (
    Case("Qwen3-8B", QWEN3_8B, DRAFT_8B, requests=2.0, gpus=1, tokens=2048, generated=1229),
    Case("Kimi-K2.5", KIMI_K25, DRAFT_KIMI, requests=4.0, gpus=8, tokens=2048, generated=1229),
)


def of(case: Case, engines: int, ranks: int, link: float) -> Group:
    """The group at the largest sample rate that link and trainer bear."""
    size = formulas.sample(case.target, case.tokens)
    arrivals = engines * case.requests
    train = trained_per_second(case.draft, case.generated, ranks)
    drawn = 4 * ranks
    # What publication takes is not trained in.
    busy = 1 / train + PUBLISH_SECONDS / (EVERY * drawn)
    rate = min(1.0, LEFT * link / size / arrivals, LEFT / busy / arrivals)
    return Group(arrivals, rate, size, link, drawn / train, drawn, EVERY, PUBLISH_SECONDS, pool=POOL, start=32)


def table(ranks: int, link: float, seconds: float, pool: int, rate: float | None) -> None:
    """One line for each target and number of engines; ``rate`` is a sample rate to take instead of the best."""
    print(f"# {ranks} ranks on H100, {8 * link / 1e9:.0f} Gbit/s into rank 0, {seconds:.0f} s, pool {pool}")
    print("target      engines  samples/s    GB/s   rate  GB/s taken  trained  GPUs more  live p50 s  p95 s  idle")
    for case in CASES:
        for engines in (8, 64, 512):
            best = of(case, engines, ranks, link)
            group = replace(best, pool=pool, rate=best.rate if rate is None else rate)
            found = simulate(group, seconds)
            lags = sorted(found.learned)
            p95 = lags[int(0.95 * len(lags))] if lags else float("nan")
            median = statistics.median(lags) if lags else float("nan")
            print(
                f"{case.name:<11} {engines:>7} {group.arrivals:>10.0f} {group.arrivals * group.size / 1e9:>7.2f} "
                f"{group.rate:>6.3f} {group.arrivals * group.rate * group.size / 1e9:>11.2f} "
                f"{found.trained / max(1, found.arrived):>8.2f} {ranks / (engines * case.gpus):>10.1%} "
                f"{median:>11.0f} {p95:>6.0f} {found.waited:>5.2f}"
            )


def check(path: Path) -> bool:
    """Hold the simulation to measured runs; returns whether there are any, each median lag within a factor of two."""
    good: list[bool] = []
    print("mode      seed  measured s  simulated s  versions")
    for line in path.read_text().splitlines():
        run = json.loads(line)
        if run.get("benchmark") != "modes" or not (run["step_seconds"] and run["capture_to_live_median"]):
            continue
        group = Group(
            arrivals=run["samples"] / run["traffic_seconds"],
            rate=1.0,
            size=1.0,
            link=1e12,
            step=run["step_seconds"],
            drawn=run["micro_batch"],
            publish_every=run["publish_every"],
            publish=run["publish_seconds"],
            pool=600,
            start=run["start_samples"],
            reuse=1000.0,
        )
        medians = [
            statistics.median(simulate(group, run["traffic_seconds"], seed, run["optimizer_steps"]).newest)
            for seed in range(20)
        ]
        expected, measured = statistics.median(medians), run["capture_to_live_median"]
        good.append(expected / 2 <= measured <= expected * 2)
        print(f"{run['mode']:<9} {run['seed']:>4} {measured:>11.1f} {expected:>12.1f} {run['versions']:>9}")
    return bool(good) and all(good)


def main() -> None:
    """The table, or a check against what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=8, help="of the trainer group")
    parser.add_argument("--gbits", type=float, default=100.0, help="of the link into rank 0")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--pool", type=int, default=POOL, help="samples that the pool keeps")
    parser.add_argument("--rate", type=float, help="sample rate, by default the largest that link and trainer bear")
    parser.add_argument("--check", type=Path, help="lines that benchmarks/modes.py printed")
    options = parser.parse_args()
    if options.check is not None:
        sys.exit(0 if check(options.check) else 1)
    table(options.ranks, options.gbits * 1e9 / 8, options.seconds, options.pool, options.rate)


if __name__ == "__main__":
    main()
