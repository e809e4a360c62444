"""One trial after another for ever: how often stable is replaced by what is not better, and how far it falls behind.

Training publishes a version every ten minutes. Its quality (accept length, on a log scale) is the trainer's level and a
jitter of its own; the level stays (*plateau*) or rises by 0.5 % with each publication for the first 60 and then stays
(*rising*). The newest version that was not tried goes on trial against stable, in blocks of two minutes with a noise of
6 %, until the product's gate decides or an hour is over. Ways to decide: the gate with its budget for false promotions,
the gate with 1 - confidence for each trial, a ratio above 1 at three blocks in a row, and blind promotion.

Last, a gate that lets versions be 2 % worse (minImprovement -0.02), before a trainer each version of which is 0.5 %
worse than stable on average: with the best version so far as an anchor, which challenges stable where a version was
withheld because of it, and without.

Prints for each: promotions of versions that are not better, a week; how much worse the worst of them was; the mean and
the worst quality of stable below the trainer's level; for the last, below the best version that was ever stable.
"""

import argparse
import json
import math
import platform
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Anchor, Budget, Candidate, Stable
from aurora_operator.promotion import anchor
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.budget import taken
from aurora_operator.promotion.eprocess import Block, log_e_down, log_e_up
from aurora_operator.promotion.gate import Evidence, Verdict, decide

BLOCK, PUBLISHED, LONGEST = timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1)
NOISE = 0.06
GATE = Gate(max_duration_seconds=int(LONGEST.total_seconds()))
START = datetime(2026, 1, 1, tzinfo=UTC)

Rule = Callable[[list[Block], float], bool | None]
"""Blocks so far and the trial's alpha in; promote, reject or (None) wait out."""


def gate(blocks: list[Block], alpha: float) -> bool | None:
    """The product's, asked where a bet has grown enough to end the trial."""
    limit = -math.log(1 - GATE.confidence)
    if log_e_up(blocks, 0.0) < -math.log(alpha) and log_e_down(blocks, math.log1p(GATE.min_worthwhile)) < limit:
        return None
    evidence = Evidence(Trial(tuple(blocks)), candidate_requests=1000, stable_requests=1000)
    verdict = decide(GATE, evidence, (), len(blocks) * BLOCK.total_seconds(), alpha).verdict
    return None if verdict is Verdict.WAIT else verdict is Verdict.PROMOTE


def threshold(blocks: list[Block], _: float) -> bool | None:
    """Above 1 at three blocks in a row; below at three in a row rejects."""
    last = [block.difference > 0 for block in blocks[-3:]]
    return True if len(last) == 3 and all(last) else False if len(last) == 3 and not any(last) else None


def blind(_: list[Block], __: float) -> bool | None:
    """Newer is better."""
    return True


RULES: dict[str, tuple[Rule, bool]] = {
    "gate, budget": (gate, True),
    "gate, 5 % each": (gate, False),
    "threshold": (threshold, False),
    "blind": (blind, False),
}


@dataclass
class Outcome:
    """What a sequence came to.

    Attributes:
        wrong: promotions of versions that are not better than stable.
        worst_step: how much worse the worst of them was, on the log scale.
        behind: of each trial's end, how far stable is below the trainer's level.
    """

    wrong: int = 0
    promoted: int = 0
    worst_step: float = 0.0
    behind: list[float] = field(default_factory=list)
    days: float = 0.0


def run(rule: Rule, *, budgeted: bool, rising: bool, jitter: float, trials: int, seed: int) -> Outcome:
    """So many trials, one after the other."""
    rng = random.Random(seed)
    now, stable, budget = START, 0.0, None
    out = Outcome()

    def level(at: datetime) -> float:
        return 0.005 * min(60.0, (at - START) / PUBLISHED) if rising else 0.0

    for _ in range(trials):
        # The newest version was published less than ten minutes ago.
        candidate = level(now) + rng.gauss(0, jitter)
        alpha = 1 - GATE.confidence
        if budgeted:
            alpha, left = taken(GATE, budget, now)
            budget = Budget(left=left.left, since=now)
        blocks: list[Block] = []
        verdict = rule(blocks, alpha) if rule is blind else None
        while verdict is None and len(blocks) < LONGEST / BLOCK:
            blocks.append(Block(candidate - stable + rng.gauss(0, NOISE), 1000.0))
            now += BLOCK
            verdict = rule(blocks, alpha)
        now = max(now, now + PUBLISHED) if rule is blind else now
        if verdict:
            out.promoted += 1
            if candidate <= stable:
                out.wrong += 1
                out.worst_step = max(out.worst_step, stable - candidate)
            stable = candidate
        out.behind.append(level(now) - stable)
    out.days = (now - START) / timedelta(days=1)
    return out


LENIENT = Gate(max_duration_seconds=int(LONGEST.total_seconds()), min_improvement=-0.02)
FALLING = 0.005


@dataclass
class Decline:
    """What a sequence came to before a trainer that gets worse.

    Attributes:
        promoted, withheld, challenges: how many.
        below: of each trial's end, how far stable is below the best version that was ever stable.
    """

    promoted: int = 0
    withheld: int = 0
    challenges: int = 0
    below: list[float] = field(default_factory=list)


def _compared(rules: Gate, effect: float, alpha: float, rng: random.Random) -> tuple[bool, Candidate]:
    """A trial of what is better by ``effect``, and the candidate with its numbers."""
    blocks: list[Block] = []
    while True:
        blocks.append(Block(effect + rng.gauss(0, NOISE), 1000.0))
        evidence = Evidence(Trial(tuple(blocks)), candidate_requests=1000, stable_requests=1000)
        decision = decide(rules, evidence, (), len(blocks) * BLOCK.total_seconds(), alpha)
        if decision.verdict is not Verdict.WAIT:
            found = decision.interval
            numbers = {} if found is None else {"estimate": found.estimate, "lower": found.lower, "upper": found.upper}
            return decision.verdict is Verdict.PROMOTE, Candidate(version=1, steps=3, since=START, **numbers)


def declining(*, anchored: bool, trials: int, seed: int) -> Decline:
    """So many trials before a trainer that gets worse."""
    rng, out = random.Random(seed), Decline()
    strict = LENIENT.model_copy(update={"min_improvement": 0.0})
    served = Stable(version=1, steps=3, since=START)
    best: Anchor | None = None
    stable = reference = highest = 0.0
    for number in range(trials):
        candidate = stable - FALLING + rng.gauss(0, FALLING)
        promoted, numbers = _compared(LENIENT, candidate - stable, 0.05, rng)
        if promoted and anchored and anchor.below(LENIENT, best, numbers) is not None:
            out.withheld += 1
            if best is not None and not best.compared:
                out.challenges += 1
                restored, challenge = _compared(strict, reference - stable, 0.05, rng)
                stable = reference if restored else stable
                best = None if restored else anchor.compared(best, challenge)
        elif promoted:
            out.promoted += 1
            reference = stable if best is None else reference
            best = anchor.after(best, served.model_copy(update={"version": number + 1}), numbers)
            stable = candidate
            highest = max(highest, stable)
        out.below.append(highest - stable)
    return out


def _decline(trials: int) -> list[dict[str, object]]:
    """The table of it."""
    columns = "promoted | withheld | challenges | below the best: mean | worst"
    print(f"\n| gate that allows 2 % worse, trainer that falls | {columns} |")
    print("|---" * 6 + "|")
    rows: list[dict[str, object]] = []
    for name, anchored in (("with the best version as anchor", True), ("without", False)):
        found = declining(anchored=anchored, trials=trials, seed=1)
        mean, worst = sum(found.below) / len(found.below), max(found.below)
        print(f"| {name} | {found.promoted} | {found.withheld} | {found.challenges} | {mean:.2%} | {worst:.2%} |")
        row = {
            "gate": name, "promoted": found.promoted, "withheld": found.withheld, "challenges": found.challenges,
            "mean_below": round(mean, 4), "worst_below": round(worst, 4),
        }  # fmt: skip
        rows.append(row)
    return rows


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--decline", action="store_true", help="only the gate that allows versions to be worse")
    options = parser.parse_args()
    heading = {"benchmark": "sequence", "date": datetime.now(UTC).isoformat(timespec="seconds"),
               "machine": platform.machine(), "python": platform.python_version()}  # fmt: skip
    if options.decline:
        print(json.dumps({**heading, "trials": options.trials, "decline": _decline(options.trials)}))
        return
    rows = []
    columns = "trainer", "rule", "trials a day", "promoted", "not better, a week", "worst of them"
    print(f"| {' | '.join(columns)} | stable behind: mean | worst |")
    print("|---" * 8 + "|")
    for name, rising, jitter in (("plateau, all equal", False, 0.0), ("plateau, jitter 1 %", False, 0.01),
                                 ("rising, jitter 1 %", True, 0.01)):  # fmt: skip
        for rule, (decided, budgeted) in RULES.items():
            found = run(decided, budgeted=budgeted, rising=rising, jitter=jitter, trials=options.trials, seed=1)
            behind = found.behind
            row = {
                "trainer": name, "rule": rule, "trials_per_day": round(options.trials / found.days, 1),
                "promoted": found.promoted, "wrong_per_week": round(7 * found.wrong / found.days, 2),
                "worst_step": round(math.expm1(found.worst_step), 4),
                "mean_behind": round(sum(behind) / len(behind), 4), "worst_behind": round(max(behind), 4),
            }  # fmt: skip
            rows.append(row)
            print(f"| {name} | {rule} | {row['trials_per_day']} | {row['promoted']} | {row['wrong_per_week']} | "
                  f"{row['worst_step']:.2%} | {row['mean_behind']:.2%} | {row['worst_behind']:.2%} |")  # fmt: skip
    print(json.dumps({**heading, "trials": options.trials, "rows": rows, "decline": _decline(options.trials)}))


if __name__ == "__main__":
    main()
