"""Which rows of packed samples begin a block in training, and which positions of the blocks have a token to predict.

Letters in shapes: A anchors of all samples, M positions of blocks that a loss or a proposal is read at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor


def chosen(roots: int, most: int) -> Tensor:
    """Roots of a sample that are anchors, ascending, spread evenly where there are more than may be; int64."""
    return torch.arange(roots) if roots <= most else torch.arange(most) * roots // most


@dataclass(frozen=True)
class Anchors:
    """The blocks of packed samples. Everything is on the CPU until :meth:`to`.

    Attributes:
        block_size: tokens of a block.
        root: int64 [A], which root each block begins at, ascending.
        anchor: int64 [M], which block each position that is read belongs to, ascending.
        offset: int64 [M], which position of its block it is, from 1.
        weight: fp32 [M], how many roots an anchor stands for.
        spans: of each sample, its committed rows and its anchors: (first row, rows, first anchor, anchors).
        seen: of each anchor, how many of its sample's rows are its context.
        ends: of each anchor, how many positions are read up to its last one.
    """

    block_size: int
    root: Tensor
    anchor: Tensor
    offset: Tensor
    weight: Tensor
    spans: tuple[tuple[int, int, int, int], ...]
    seen: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int, int, int]], block_size: int, most: int) -> Self:
        """The blocks of samples.

        Args:
            spans: of :class:`aurora_core.samples.packed.Packed`.
            block_size: tokens of a block.
            most: anchors of a sample.
        """
        root, left, share, seen, ours, first_anchor = [], [], [], [], [], 0
        for first_row, rows, first_root, roots in spans:
            some = chosen(roots, most)
            root.append(first_root + some)
            left.append(roots - some)
            share.append(torch.full((some.numel(),), roots / some.numel()))
            seen.append(rows - roots + some + 1)
            ours.append((first_row, rows, first_anchor, some.numel()))
            first_anchor += some.numel()
        read = torch.cat(left).clamp(max=block_size - 1)
        anchor = torch.arange(first_anchor).repeat_interleave(read)
        ends = read.cumsum(0)
        return cls(
            block_size,
            torch.cat(root),
            anchor,
            torch.arange(anchor.numel()) - (ends - read)[anchor] + 1,
            torch.cat(share)[anchor],
            tuple(ours),
            tuple(torch.cat(seen).tolist()),
            tuple(ends.tolist()),
        )

    def to(self, device: torch.device) -> "Anchors":
        """The same on a device."""
        root, anchor, offset, weight = (
            x.to(device, non_blocking=True) for x in (self.root, self.anchor, self.offset, self.weight)
        )
        return Anchors(self.block_size, root, anchor, offset, weight, self.spans, self.seen, self.ends)

    @cached_property
    def answer(self) -> Tensor:
        """int64 [M], the root whose first proposal each position that is read stands for."""
        return self.root[self.anchor] + self.offset - 1
