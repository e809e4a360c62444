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


def to_d2t(ids: Tensor) -> Tensor:
    """EAGLE3's ``d2t``: [draft vocab], target id minus draft id."""
    return ids - torch.arange(ids.numel())


def from_d2t(d2t: Tensor) -> Tensor:
    """The inverse of :func:`to_d2t`."""
    return d2t + torch.arange(d2t.numel())


def to_t2d(ids: Tensor, vocab_size: int) -> Tensor:
    """EAGLE3's ``t2d``: bool [vocab], True where the draft can propose the token."""
    mask = torch.zeros(vocab_size, dtype=torch.bool)
    mask[ids] = True
    return mask


def target_to_draft(ids: Tensor, vocab_size: int) -> Tensor:
    """int64 [vocab]: the draft's id of each target token, -1 where it has none."""
    table = torch.full((vocab_size,), -1, dtype=torch.int64)
    table[ids] = torch.arange(ids.numel())
    return table
