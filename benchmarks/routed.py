"""A Canary by request, simulated: weights that belong to pods beside weights that follow the candidate.

A router gives the canary pods a tenth of all requests. A busier engine decodes slower, as batches are larger; traffic
comes and goes, and pods differ. Two ways to deal:

- pods: this operator's. The two canary pods have their share, whichever of them serves the candidate.
- candidate: as progressive delivery does. The pod that serves the candidate has a tenth, all others the rest.

Which pod serves the candidate is dealt by the product's own coin, and blocks and verdicts are the product's. Prints
which share of trials is promoted and rejected, by accept length and by decode speed. Needs no router and no cluster.
"""

import argparse
import json
import math
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from aurora_operator.api.promotion import Gate
from aurora_operator.promotion.assignment import canaries
from aurora_operator.promotion.blocks import MEASURES, Trial, crossover, measured
from aurora_operator.promotion.counters import Arm, Counters, Row, Slices
from aurora_operator.promotion.eprocess import log_e_down, log_e_up
from aurora_operator.promotion.gate import Evidence, Verdict, decide

CANARY, STABLE = ("a", "b"), ("c", "d")
PODS = CANARY + STABLE
EASE = dict(zip(PODS, (1.0, 0.8, 1.1, 0.9), strict=True))
"""Factor of a pod's accept length: the requests that reach it differ."""
WEIGHT = 0.1
SLICE_SECONDS, SLICES = 60, 180
CYCLES = 4000.0
"""Of all pods in a slice, mean."""
SLOWDOWN = 0.5
"""A pod with a quarter of all requests needs so much longer for a verify cycle than one that is idle."""
EFFECTS = (1.0, 0.98, 1.05)

Weights = Literal["pods", "candidate"]
Metric = Literal["AcceptLength", "DecodeSpeed"]


def shares(weights: Weights, tried: str) -> dict[str, float]:
    """Of all requests, by pod, where this pod serves the candidate."""
    if weights == "pods":
        return {pod: WEIGHT / 2 if pod in CANARY else (1 - WEIGHT) / 2 for pod in PODS}
    return {pod: WEIGHT if pod == tried else (1 - WEIGHT) / (len(PODS) - 1) for pod in PODS}


def simulated(weights: Weights, effect: float, seed: int) -> tuple[Counters, Counters]:
    """What candidate and stable did in a trial."""
    rng, trial = np.random.default_rng([seed, int(1000 * effect)]), f"routed/{weights}/{effect}/{seed}"
    arms = tuple(Counters(Arm(version, 3), 0.0, from_zero=True, length=SLICE_SECONDS) for version in (2, 1))
    load = 0.0
    for at in range(SLICES):
        load = 0.8 * load + 0.6 * rng.normal(0, 0.3)
        (tried,) = canaries(trial, at, CANARY, 1)
        for pod, share in shares(weights, tried).items():
            busy = share * math.exp(load)
            cycles = float(rng.poisson(CYCLES * busy))
            mean = 2.0 * EASE[pod] * math.exp(rng.normal(0, 0.05)) * (effect if pod == tried else 1.0)
            tokens = max(cycles, cycles * mean + rng.normal(0, 0.9) * math.sqrt(cycles))
            seconds = 0.05 * cycles * (1 + SLOWDOWN * len(PODS) * busy) * math.exp(rng.normal(0, 0.02))
            row = Row(cycles / 40, 0, 0, tokens, cycles, tokens, seconds, cycles / 40, cycles / 400)
            counters = arms[0] if pod == tried else arms[1]
            counters.engines.setdefault(pod, Slices()).inside[at] = row
    return arms[0], arms[1]


def verdict(job: tuple[Weights, Metric, float, int]) -> tuple[bool | None, float]:
    """Promoted, rejected or undecided (None), and after how many minutes."""
    weights, metric, effect, seed = job
    dealt = crossover(*simulated(weights, effect, seed), SLICES)
    trial, limit = measured(dealt, MEASURES[metric]), -math.log(1 - Gate().confidence)
    for count in range(6, len(trial.blocks) + 1):
        blocks = trial.blocks[:count]
        if max(log_e_up(blocks, 0.0), log_e_down(blocks, 0.0)) < limit:
            continue
        found = decide(Gate(), Evidence(Trial(blocks), candidate_requests=1000, stable_requests=1000), (), 0.0).verdict
        if found is not Verdict.WAIT:
            return found is Verdict.PROMOTE, 2 * count * SLICE_SECONDS / 60
    return None, SLICES * SLICE_SECONDS / 60


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400, help="of each kind")
    options = parser.parse_args()
    kinds: list[tuple[Weights, Metric, float]] = [
        (weights, metric, effect)
        for weights in ("pods", "candidate")
        for metric in ("AcceptLength", "DecodeSpeed")
        for effect in EFFECTS
    ]  # fmt: skip
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [(*kind, seed) for kind in kinds for seed in range(options.trials)]
        found = dict(zip(jobs, pool.map(verdict, jobs, chunksize=20), strict=True))
    print("| weights of | compared by | candidate | promoted | rejected | median minutes |\n|---|---|---|---|---|---|")
    rows = []
    for weights, metric, effect in kinds:
        verdicts = [found[weights, metric, effect, seed] for seed in range(options.trials)]
        promoted, rejected = (sum(one is which for one, _ in verdicts) / len(verdicts) for which in (True, False))
        minutes = float(np.median([minutes for _, minutes in verdicts]))
        print(f"| {weights} | {metric} | {effect:g} | {promoted:.1%} | {rejected:.1%} | {minutes:.0f} |")
        rows.append([weights, metric, effect, promoted, rejected, minutes])
    heading = {
        "benchmark": "routed",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    print(json.dumps({**heading, "trials": options.trials, "rows": rows}))


if __name__ == "__main__":
    main()
