"""The sums of a micro-batch from its rows, for whichever family computed them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from aurora_core.drafts.family import StepSums


def nothing(steps: int) -> StepSums:
    """Sums of a micro-batch without a row to learn from."""
    return StepSums([0.0] * steps, [0.0] * steps, [0] * steps)


def of_rows(step_N: Tensor, loss_N: Tensor, correct_N: Tensor, steps: int) -> StepSums:
    """Sums by step.

    Args:
        step_N: int64, the draft step of each row.
        loss_N: of each row.
        correct_N: bool, whether its prediction is the target's token.
        steps: draft steps.
    """
    zeros = torch.zeros(steps, dtype=torch.float32, device=loss_N.device)
    loss = zeros.index_add(0, step_N, loss_N).tolist()
    correct = zeros.index_add(0, step_N, correct_N.float()).tolist()
    return StepSums(loss, correct, torch.bincount(step_N, minlength=steps).tolist())


def of_steps(found: Sequence[tuple[Tensor, Tensor]]) -> StepSums:
    """Sums of steps that were computed one after the other: of each its rows' losses, and which are correct."""
    step = torch.cat([torch.full_like(loss, k, dtype=torch.int64) for k, (loss, _) in enumerate(found)])
    return of_rows(step, torch.cat([loss for loss, _ in found]), torch.cat([one for _, one in found]), len(found))
