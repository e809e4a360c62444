"""EAGLE3's maps between draft and target tokens, as they stand in a checkpoint."""

import torch
from torch import Tensor


def to_d2t(ids: Tensor) -> Tensor:
    """``d2t``: [draft vocab], target id minus draft id."""
    return ids - torch.arange(ids.numel(), device=ids.device)


def from_d2t(d2t: Tensor) -> Tensor:
    """The inverse of :func:`to_d2t`."""
    return d2t + torch.arange(d2t.numel(), device=d2t.device)


def to_t2d(ids: Tensor, vocab_size: int) -> Tensor:
    """``t2d``: bool [vocab], True where the draft can propose the token."""
    mask = torch.zeros(vocab_size, dtype=torch.bool, device=ids.device)
    mask[ids] = True
    return mask
