"""What the ranks of an engine decide together: each has a part of the draft, and parts of two versions are no draft.

SGLang gives a control command to all ranks between the same two steps, so that all of them ask in the same order.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

Agree = Callable[[bool], bool]
"""Whether it is true on every rank; all ranks must ask."""


def alone(own: bool) -> bool:  # noqa: FBT001 (the only thing that is asked)
    """One rank."""
    return own


def among(scheduler: Any) -> Agree:
    """The ranks that share an engine's target with this one.

    Args:
        scheduler: SGLang's, of this rank.
    """
    group = getattr(scheduler, "tp_cpu_group", None)
    if group is None or dist.get_world_size(group) == 1:
        return alone

    def agree(own: bool) -> bool:  # noqa: FBT001 (the only thing that is asked)
        every = torch.tensor([int(own)], dtype=torch.int64)
        dist.all_reduce(every, dist.ReduceOp.MIN, group=group)
        return bool(every)

    return agree
