"""Samples as packed rows, without padding, and only those that training needs.

A verify cycle that starts at row t reads the target's states at t and proposes token t + 2; a *root* is a row where one
starts, or could start, whose first proposal the sample answers. With n rows and p prompt tokens a sample has the roots
p - 1 .. n - 2. Letters in shapes: N committed rows of all samples, R roots of all samples, A auxiliary layers, H
target width.

All that a chain needs of later tokens lies in the roots' own order: at step k, root r reads and predicts what root r +
k of the same sample does at step 0. So every step is a shift by k, and a root takes part in as many steps as roots
follow it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample


def _stacked(parts: Sequence[Tensor], dtype: torch.dtype, *, pinned: bool) -> Tensor:
    """Rows under one another; pinned memory is torch's own, which it reuses from step to step."""
    parts = [part.to(dtype) for part in parts]
    if not pinned:
        return torch.cat(parts)
    out = torch.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=dtype, pin_memory=True)
    return torch.cat(parts, out=out)


@dataclass(frozen=True)
class Packed:
    """Rows of several samples, one after the other.

    Attributes:
        next_token: int64 [N], the token after each committed row.
        aux: [N, A * H].
        position: int64 [N], of each committed row in its sample.
        root_row: int64 [R], the committed row that each root is.
        remaining: int64 [R], roots of the same sample from this one on, itself included: the steps that it takes part
            in.
        last: [R, H], the target's last states at the row after each root.
        label: int64 [R], the token that each root's first proposal should be.
        spans: of each sample, its committed rows and its roots: (first row, rows, first root, roots).
    """

    next_token: Tensor
    aux: Tensor
    position: Tensor
    root_row: Tensor
    remaining: Tensor
    last: Tensor
    label: Tensor
    spans: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, samples: Sequence[Sample], dtype: torch.dtype, *, pinned: bool = False) -> Self:
        """Pack samples; one without a root contributes nothing.

        Args:
            samples: some.
            dtype: of states.
            pinned: whether states lie where a GPU copies from by itself, while the host does other work.

        Raises:
            ValueError: none has a root.
        """
        parts: list[tuple[Sample, int, int]] = []
        spans, row, root = [], 0, 0
        for sample in samples:
            rows, roots = sample.aux.shape[0], sample.roots
            if roots > 0:
                parts.append((sample, rows, roots))
                spans.append((row, rows - 1, root, roots))
                row, root = row + rows - 1, root + roots
        if not parts:
            raise ValueError("no sample has a row to learn from")
        return cls(
            next_token=torch.cat([s.tokens[1:n] for s, n, _ in parts]),
            aux=_stacked([s.aux[: n - 1] for s, n, _ in parts], dtype, pinned=pinned),
            position=torch.cat([torch.arange(n - 1) for _, n, _ in parts]),
            root_row=torch.cat([torch.arange(first + rows - roots, first + rows) for first, rows, _, roots in spans]),
            remaining=torch.cat([torch.arange(roots, 0, -1) for _, _, roots in parts]),
            last=_stacked([s.last[s.prompt_tokens : n] for s, n, _ in parts], dtype, pinned=pinned),
            label=torch.cat([s.tokens[s.prompt_tokens + 1 : n + 1] for s, n, _ in parts]),
            spans=tuple(spans),
        )

    @classmethod
    def of_batch(cls, batch: Batch) -> "Packed | None":
        """Pack padded samples, on their device; None where none has a root."""
        samples = [
            Sample("", tokens[: n + 1].cpu(), prompt, aux[:n], last[:n], 0, "")
            for tokens, aux, last, n, prompt in zip(
                batch.tokens, batch.aux, batch.last, batch.rows.tolist(), batch.prompt.tolist(), strict=True
            )
        ]
        if not any(sample.roots > 0 for sample in samples):
            return None
        return cls.of(samples, batch.aux.dtype).to(batch.aux.device)

    def to(self, device: torch.device) -> "Packed":
        """The same on a device."""
        names = [field.name for field in fields(self) if field.name != "spans"]
        return Packed(**{name: getattr(self, name).to(device, non_blocking=True) for name in names}, spans=self.spans)
