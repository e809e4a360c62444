"""Which draft steps, branches and draft tokens give the most tokens per second.

A verify cycle emits the accept length L and takes the time T, so that speed is L / T (Leviathan, Kalman and Matias
2023, "Fast inference from transformers via speculative decoding", arXiv 2211.17192, theorem 3.8, whose geometric series
of one acceptance rate is replaced by what was counted):

    T(steps, tokens) = target + steps * draft + (tokens - 1) * verify

with the time of the target's pass over one token, of a draft step, and of each further token that the target verifies.

L of a chain (top-k 1) is exact for greedy requests: the same cycles that serving would run. L of a token tree is
estimated from the share of rows at which the target's token was the draft's proposal of each rank, at each step, as if
that did not depend on the branch (Chen et al. 2024, "Sequoia", arXiv 2402.12374, positional acceptance): the sum of the
products along each path of the tree. The tree is grown as SGLang grows it (arXiv 2406.16858), with these
products for the draft's confidences: at each step the top-k best nodes get top-k children each, and the best of all
nodes are verified. A draft knows more about each row than these averages, so that a tree tends to do better.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aurora_core.errors import ConfigError
from aurora_core.evaluation.ranks import Ranks

_TREES = (2, 4, 8)
_TOKENS = (4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class Costs:
    """Milliseconds of a cycle's parts; see the formula above."""

    target: float
    draft: float
    verify: float = 0.0

    def cycle(self, steps: int, tokens: int) -> float:
        """Milliseconds of a full cycle, which without draft steps is the target's pass alone."""
        return self.target + steps * self.draft + (tokens - 1) * self.verify


@dataclass(frozen=True)
class Cycle:
    """A measured cycle.

    Attributes:
        steps: draft steps; 0 without speculation.
        tokens: that the target verifies, 1 without speculation.
        milliseconds: that it takes.
    """

    steps: int
    tokens: int
    milliseconds: float


@dataclass(frozen=True)
class Choice:
    """One way to serve.

    Attributes:
        num_steps, top_k, num_draft_tokens: as in ``draft`` of a configuration; all 0 but one token: no speculation.
        accept_length: tokens per verify cycle.
        milliseconds: of a cycle.
        tokens_per_second: of a request.
    """

    num_steps: int
    top_k: int
    num_draft_tokens: int
    accept_length: float
    milliseconds: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second of a request."""
        return 1000 * self.accept_length / self.milliseconds


def fit(cycles: Sequence[Cycle]) -> Costs:
    """The costs that explain measured cycles best, by least squares, none of them below zero.

    Where draft steps and verified tokens only ever change together, as in chains, all of that is the draft's cost.

    Raises:
        ConfigError: the cycles have the same number of steps, or no cost above zero explains them.
    """
    rows = np.array([[1, one.steps, one.tokens - 1] for one in cycles], dtype=np.float64)
    taken = np.array([one.milliseconds for one in cycles])
    columns = [0, 1, 2] if len(cycles) and np.linalg.matrix_rank(rows) > 2 else [0, 1]  # noqa: PLR2004 (all three)
    while True:
        if not len(cycles) or np.linalg.matrix_rank(rows[:, columns]) < len(columns):
            raise ConfigError("measure at least two engines with different draft steps: one of them can have none")
        found = np.linalg.lstsq(rows[:, columns], taken, rcond=None)[0]
        if (found >= 0).all() or columns == [0, 1]:
            break
        columns = [0, 1]
    if found[0] <= 0 or found[1] < 0:
        raise ConfigError("the measured cycles get faster with more draft steps: measure longer, on an idle engine")
    return Costs(float(found[0]), float(found[1]), float(found[2]) if len(columns) > 2 else 0.0)  # noqa: PLR2004


def tree_length(shares: Sequence[Sequence[float]], steps: int, top_k: int, tokens: int) -> float:
    """Estimated accept length of a token tree.

    Args:
        shares: of each step and rank, as :class:`Ranks` has them.
        steps: draft steps.
        top_k: branches of each step.
        tokens: that the target verifies, the last known one included.
    """
    nodes: list[float] = []
    kept = [1.0]
    for step in range(steps):
        grown = [path * share for path in kept for share in shares[step][:top_k]]
        nodes += grown
        kept = heapq.nlargest(top_k, grown)
    return 1.0 + sum(heapq.nlargest(tokens - 1, nodes))


def choices(found: Ranks, costs: Costs) -> list[Choice]:
    """Every choice, the fastest first; the one without speculation is among them.

    More branches that no verified token uses are no choice of their own.

    Args:
        found: statistics of the draft.
        costs: of the engine.
    """
    out = [Choice(0, 0, 1, 1.0, costs.cycle(0, 1))]
    for steps, length in enumerate(found.lengths, start=1):
        out.append(Choice(steps, 1, steps + 1, length, costs.cycle(steps, steps + 1)))
        before: dict[int, float] = {}
        for top_k in (k for k in _TREES if k <= len(found.shares[0])):
            # A tree has no more nodes than that.
            most = top_k + (steps - 1) * top_k**2
            for tokens in (n for n in _TOKENS if steps + 1 < n <= most + 1):
                accepted = tree_length(found.shares, steps, top_k, tokens)
                if accepted > before.get(tokens, 0.0):
                    out.append(Choice(steps, top_k, tokens, accepted, costs.cycle(steps, tokens)))
                    before[tokens] = accepted
    return sorted(out, key=lambda one: one.tokens_per_second, reverse=True)
