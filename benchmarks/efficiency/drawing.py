"""Which samples a step draws: epochs over all of them, or of those that have arrived."""

import torch
from aurora_core.samples.pool import draw_rank

from efficiency.variants import Policy

_REUSE = 4
"""How often a sample that arrived is drawn, on average."""
_NEWEST, _POOL = 4, 600
"""The newest are one in so many of those that are there; and how many are there at most."""


class Order:
    """Draws positions of samples, which are numbered through all phases of traffic.

    Args:
        policy: how.
        seed: of the order.
        again: share of what is drawn that is of all that were drawn before, at random, and no use of theirs.
    """

    def __init__(self, policy: Policy, seed: int, again: float = 0.0) -> None:
        self._policy, self._again = policy, again
        self._generator = torch.Generator().manual_seed(seed)
        self._uses: list[int] = []
        self._present: list[int] = []
        self._waiting: list[int] = []
        self._coming: list[int] = []
        self._arrived = self._drawn = 0

    def begin(self, count: int) -> None:
        """Traffic is of ``count`` other samples from now on; of those before, what has not arrived never will."""
        first = len(self._uses)
        self._uses += [0] * count
        self._present = list(range(first, first + count))
        self._coming = [first + at for at in torch.randperm(count, generator=self._generator).tolist()]
        self._waiting = [] if self._policy == "epochs" else self._waiting
        self._arrived = self._drawn = 0

    def draw(self, count: int) -> list[int]:
        """The next positions."""
        found = self._of_epochs(count) if self._policy == "epochs" else self._of_pool(count)
        self._drawn += count
        return found

    def _of_epochs(self, count: int) -> list[int]:
        while len(self._waiting) < count:
            order = torch.randperm(len(self._present), generator=self._generator).tolist()
            self._waiting += [self._present[at] for at in order]
        found, self._waiting = self._waiting[:count], self._waiting[count:]
        return found

    def _rank(self, uses: int, noise: float) -> tuple[float, float]:
        """Those of the lowest ranks are drawn; ``noise`` is uniform from 0 to 1."""
        if self._policy == "least used":
            return uses, noise
        if self._policy == "unused first":
            return min(uses, 1), noise
        if self._policy == "less used likelier":
            return draw_rank(uses, noise), 0.0
        return 0, noise

    def _of_pool(self, count: int) -> list[int]:
        due = max(2 * count, (self._drawn + count) // _REUSE) - self._arrived
        new, self._coming = self._coming[: max(0, due)], self._coming[max(0, due) :]
        self._arrived += len(new)
        self._waiting = [*self._waiting, *new][-_POOL:]
        newest = max(count, len(self._waiting) // _NEWEST)
        pool = self._waiting[-newest:] if self._policy == "newest" else self._waiting
        noise = dict(zip(pool, torch.rand(len(pool), generator=self._generator).tolist(), strict=True))
        again = sorted((at for at in pool if self._uses[at]), key=lambda at: noise[at])[: round(count * self._again)]
        rest = [at for at in pool if at not in again]
        found = sorted(rest, key=lambda at: self._rank(self._uses[at], noise[at]))[: count - len(again)]
        for place in found:
            self._uses[place] += 1
        return [*found, *again]
