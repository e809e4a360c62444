"""The draft's vocabulary: the target tokens that traffic uses most.

A draft proposes only these. A token outside them is never proposed, so the target still speaks it, at the cost
of a shorter accepted run; a smaller vocabulary makes every draft step cheaper.
"""

import torch
from torch import Tensor


def choose(token_counts: Tensor, size: int) -> Tensor:
    """Choose the draft's tokens.

    Args:
        token_counts: [vocab], how often the target generated each token.
        size: number of tokens; at most the full vocabulary.

    Returns:
        int64 [size], ascending target ids. Ties go to the lower id, which tokenizers give to commoner tokens.
    """
    size = min(size, token_counts.numel())
    order = torch.sort(token_counts, descending=True, stable=True).indices[:size]
    return order.sort().values


def coverage(token_counts: Tensor, ids: Tensor) -> float:
    """Share of the counted tokens that a draft vocabulary contains; no draft can accept the others."""
    return float(token_counts[ids].sum() / token_counts.sum().clamp(min=1))


def target_to_draft(ids: Tensor, vocab_size: int) -> Tensor:
    """int64 [vocab]: the draft's id of each target token, -1 where it has none."""
    table = torch.full((vocab_size,), -1, dtype=torch.int64, device=ids.device)
    table[ids] = torch.arange(ids.numel(), device=ids.device)
    return table
