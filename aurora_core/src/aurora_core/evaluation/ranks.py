"""What one pass over samples says of a draft at any number of steps and branches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aurora_core.drafts.family import Draft, Teacher
from aurora_core.evaluation.accept import Accepted, Cycle, matches, walk
from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample


@dataclass(frozen=True)
class Ranks:
    """Statistics of a draft.

    Attributes:
        lengths: accept length of a chain of 1, 2, ... draft steps, exact for greedy requests.
        shares: of each draft step and rank, the share of rows at which the target's token was the draft's proposal of
            that rank, of the rows where it was the first one at each step before.
    """

    lengths: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...]


@torch.no_grad()
def ranks(
    draft: Draft, teacher: Teacher, samples: Sequence[Sample], *, steps: int, width: int, micro_batch: int = 8
) -> Ranks:
    """Count matches; arguments as of :func:`aurora_core.evaluation.accept.simulate`.

    Args:
        draft, teacher, samples: whose.
        steps: draft steps at most.
        width: proposals of a step at most.
        micro_batch: samples at a time.
    """
    cycles: list[list[tuple[Cycle, ...]]] = [[] for _ in range(steps)]
    counted, tried = torch.zeros(steps, width, dtype=torch.int64), torch.zeros(steps, dtype=torch.int64)
    ordered = sorted(samples, key=lambda sample: sample.tokens.shape[0])
    for start in range(0, len(ordered), micro_batch):
        batch = Batch.of(ordered[start : start + micro_batch], teacher.dtype).to(teacher.device)
        with teacher.autocast():
            found = matches(draft, teacher, batch, steps, width)
        alive = torch.ones_like(found[:, 0, :, 0])
        for step in range(steps):
            decided = batch.supervised(step) & alive
            tried[step] += int(decided.sum())
            counted[step] += found[:, step][decided].sum(0).cpu()
            alive = decided & found[:, step, :, 0]
        first = found[..., 0].tolist()
        for flags, prompt, rows in zip(first, batch.prompt.tolist(), batch.rows.tolist(), strict=True):
            for most in range(1, steps + 1):
                cycles[most - 1].append(tuple(walk(flags[:most], prompt - 1, rows)))
    shares = counted / tried.clamp(min=1)[:, None]
    return Ranks(
        tuple(Accepted(tuple(found)).length for found in cycles),
        tuple(tuple(row) for row in shares.tolist()),
    )
