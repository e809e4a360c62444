"""How far stable is behind the newest draft, by what is published and which version takes a trial over.

A trainer is evaluated every ten minutes on 48 held-out requests, against the version last published. Its level (log of
accept length) rises by 0.5 % each time for the first 60 evaluations and then stays; the weights of an evaluation differ
from it by a jitter of 0.3 %, and a request's gain by 5 % from the true one. What is published goes through the gate and
its budget in blocks of two minutes with a noise of 6 %, for at most a day. Two ways to publish and to supersede:

- noise too: publish what was measured above the last version by anything, and supersede by measured gains alone, as
  version 0.1 did at first;
- proved: publish what the paired test proves, and supersede where the chained gain is real, as now.

Prints for each: versions published, how many of them are not better than the version before, trials, promotions, those
that are not better, and how far stable is below the newest weights, while the level rises and on the plateau.
"""

import argparse
import json
import math
import platform
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aurora_core.evaluation.gain import Gain, spent
from aurora_core.training.publisher import ERROR
from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Budget, Candidate
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.budget import taken
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.gate import Evidence, Verdict, decide
from aurora_operator.promotion.progress import Published
from aurora_operator.promotion.succession import over
from aurora_operator.promotion.trial import SUPERSEDE, SUPERSEDE_YOUNG
from sequence import BLOCK, NOISE, PUBLISHED, START

GATE = Gate()
REQUESTS, OF_REQUEST, JITTER, STEP, RISES = 48, 0.05, 0.003, 0.005, 60


@dataclass
class Outcome:
    """What a sequence came to; ``behind`` is by minute, rising and on the plateau."""

    published: int = 0
    noise: int = 0
    trials: int = 0
    promoted: int = 0
    wrong: int = 0
    behind: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))


class _Sequence:
    """Training, the volume and the trial at a moment; advanced block by block."""

    def __init__(self, seed: int, *, proved: bool) -> None:
        self._rng, self._proved = random.Random(seed), proved
        self.out, self.now = Outcome(), START
        self._evaluations = self._number = 0
        self._level = self._stable = 0.0
        self._quality = {0: 0.0}
        self._versions = [Published(0, None)]
        self._decided = 0
        self._budget: Budget | None = None
        self._candidate: Candidate | None = None
        self._blocks: list[Block] = []

    def _evaluated(self) -> None:
        """The trainer's evaluation, and perhaps a version."""
        self._evaluations, self._number = self._evaluations + 1, self._number + 1
        self._level = STEP * min(RISES, self._evaluations)
        weights, parent = self._level + self._rng.gauss(0, JITTER), self._versions[-1].version
        error = OF_REQUEST / math.sqrt(REQUESTS)
        measured = weights - self._quality[parent] + self._rng.gauss(0, error)
        gain = Gain(1.0, math.exp(measured), error * math.exp(measured), error, REQUESTS)
        if gain.now > 1 and (not self._proved or gain.proved(0.0, spent(ERROR, self._number))):
            number, self._number = parent + 1, 0
            self._versions.append(Published(number, None, "", parent, gain.now, error))
            self._quality[number] = weights
            self.out.published += 1
            self.out.noise += weights <= self._quality[parent]

    def _superseded(self, candidate: Candidate) -> bool:
        found = over(candidate, self._versions[-1], self._versions)
        enough = SUPERSEDE if candidate.estimate is not None else SUPERSEDE_YOUNG
        return found is not None and found.times >= enough and (not self._proved or found.lower > 1)

    def _begin(self) -> None:
        newest = self._versions[-1].version
        if newest > self._decided:
            alpha, self._budget = taken(GATE, self._budget, self.now)
            self._candidate = Candidate(version=newest, steps=3, since=self.now, alpha=alpha)
            self._blocks = []
            self.out.trials += 1

    def _analysed(self, candidate: Candidate) -> None:
        effect = self._quality[candidate.version] - self._stable
        self._blocks.append(Block(effect + self._rng.gauss(0, NOISE), 1000.0))
        evidence = Evidence(Trial(tuple(self._blocks)), candidate_requests=1000, stable_requests=1000)
        elapsed = (self.now - candidate.since).total_seconds()
        decision = decide(GATE, evidence, (), elapsed, candidate.alpha)
        if decision.verdict is Verdict.WAIT:
            estimate = None if decision.interval is None else decision.interval.estimate
            self._candidate = candidate.model_copy(update={"estimate": estimate})
            return
        self._candidate, self._decided = None, candidate.version
        if decision.verdict is Verdict.PROMOTE:
            self.out.promoted += 1
            self.out.wrong += effect <= 0
            self._stable = self._quality[candidate.version]

    def advance(self) -> None:
        """Two minutes."""
        self.now += BLOCK
        if (self.now - START) % PUBLISHED < BLOCK:
            self._evaluated()
        if self._candidate is not None and self._superseded(self._candidate):
            self._candidate = None
        if self._candidate is None:
            self._begin()
        else:
            self._analysed(self._candidate)
        self.out.behind[self._evaluations >= RISES].append(self._level - self._stable)


def run(days: float, seed: int, *, proved: bool) -> Outcome:
    """So many days."""
    state = _Sequence(seed, proved=proved)
    while state.now - START < timedelta(days=days):
        state.advance()
    return state.out


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    rows = []
    columns = "published | not better | trials | promoted | not better | behind, rising | on the plateau"
    print(f"| what is published | {columns} |")
    print("|---" * 8 + "|")
    for name, proved in (("noise too, before", False), ("proved, now", True)):
        found = [run(options.days, seed, proved=proved) for seed in range(options.seeds)]
        counts = [sum(getattr(one, what) for one in found) / len(found)
                  for what in ("published", "noise", "trials", "promoted", "wrong")]  # fmt: skip
        behind = [
            sum(sum(one.behind[part]) for one in found) / max(1, sum(len(one.behind[part]) for one in found))
            for part in (0, 1)
        ]
        print(f"| {name} | " + " | ".join([f"{n:.1f}" for n in counts] + [f"{b:.2%}" for b in behind]) + " |")
        rows.append({"what": name, "counts": counts, "behind": behind})
    heading = {"benchmark": "lag", "date": datetime.now(UTC).isoformat(timespec="seconds"),
               "machine": platform.machine(), "python": platform.python_version()}  # fmt: skip
    print(json.dumps({**heading, "days": options.days, "seeds": options.seeds, "rows": rows}))


if __name__ == "__main__":
    main()
