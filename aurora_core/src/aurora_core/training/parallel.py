"""The ranks that train one draft together, as the trainer sees them; without a launcher there is one, at no cost.

Every rank has the full draft and the full optimizer. Rank 0 is the trainer as it is without others: it alone has the
samples, the lease, the pool and the random order, and it alone evaluates, publishes and saves. For each optimizer step
it draws the samples that it would draw alone and hands out shares of them; nothing else is split. So no sample can be
lost between ranks or trained on twice, hyperparameters mean the same at any number of ranks, and a saved state says
nothing of how many there were.

Gradients are sums over rows, scaled by the rows of the full step, so that adding them up over ranks weighs every row
the same: the loss curve of one rank, but for the order of fp32 sums. They are added with torch's collectives after the
last micro-batch rather than by ``DistributedDataParallel``, which wraps a module's one forward pass, where a draft
family runs parts of its draft several times, and averages over ranks, whatever rows each had.

The optimizer's state is not sharded (``ZeroRedundancyOptimizer``, FSDP2). AdamW's moments of a draft of a
target of width 4096 are 3.2 GiB of fp32, weights and gradients 3.2 GiB more (``benchmarks/ranks.py`` prints them): 8 %
of an 80 GB GPU. Sharding would save half of the smaller part on two ranks, and cost a gather before each save and each
choice of a vocabulary.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import Tensor, nn

from aurora_core.samples.schema import Sample


class Ranks(Protocol):
    """What rank 0 does with the others; followers (:mod:`aurora_core.training.follower`) take part in the same sums.

    Every method but :attr:`rank` and :attr:`size` raises TrainingError where another rank is gone.
    """

    @property
    def rank(self) -> int:
        """This process's number, from 0."""

    @property
    def size(self) -> int:
        """How many ranks there are."""

    def hand_out(self, micro_batches: Sequence[Sequence[Sample]]) -> Sequence[Sequence[Sample]]:
        """Announce an optimizer step over all of these; returns this rank's share of it."""

    def announce_vocabulary(self, ids: Tensor) -> None:
        """Have the others choose the same vocabulary, int64 [V] ascending."""

    def add(self, own: Tensor) -> Tensor:
        """The sum over all ranks of a float64 tensor on the CPU."""

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over all ranks; one that no rank has stays None."""

    def of_first(self, own: float) -> float:
        """Rank 0's number, on every rank: what is decided by it is decided alike."""

    def any_stops(self, *, own: bool) -> bool:
        """Whether any rank was asked to end."""

    def end(self, *, finished: bool) -> None:
        """End all ranks; ``finished`` says that training came to its end."""


class Alone:
    """One rank."""

    rank = 0
    size = 1

    def hand_out(self, micro_batches: Sequence[Sequence[Sample]]) -> Sequence[Sequence[Sample]]:
        """All of it."""
        return micro_batches

    def announce_vocabulary(self, ids: Tensor) -> None:
        """Nobody else needs it."""

    def add(self, own: Tensor) -> Tensor:
        """The same."""
        return own

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """They are complete already."""

    def of_first(self, own: float) -> float:
        """The same."""
        return own

    def any_stops(self, *, own: bool) -> bool:
        """Whether this one was."""
        return own

    def end(self, *, finished: bool) -> None:
        """Nobody else runs."""


ALONE = Alone()


def shares(micro_batches: Sequence[Sequence[Sample]], ranks: int) -> list[list[list[Sample]]]:
    """Split the samples of an optimizer step into one share a rank, of about as many rows each.

    The longest sample first goes to the rank that has the fewest rows. A share is micro-batches of no more samples than
    the largest given one has; it is empty where there are fewer samples than ranks.

    Args:
        micro_batches: all samples of the step.
        ranks: how many shares.
    """
    most = max([1, *map(len, micro_batches)])
    dealt: list[list[Sample]] = [[] for _ in range(ranks)]
    rows = [0] * ranks
    samples = [sample for micro in micro_batches for sample in micro]
    for sample in sorted(samples, key=lambda one: one.aux.shape[0], reverse=True):
        rank = rows.index(min(rows))
        dealt[rank].append(sample)
        rows[rank] += sample.aux.shape[0]
    return [[share[at : at + most] for at in range(0, len(share), most)] for share in dealt]
