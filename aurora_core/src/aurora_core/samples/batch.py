"""Samples as tensors of one shape. Letters: B samples, T rows of the longest, H target width, A aux layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from aurora_core.samples.schema import Sample


@dataclass(frozen=True)
class Batch:
    """Padded samples.

    Row t of a sample is (token t, states at t). A verify cycle that starts there has the target's states at t and
    knows token t + 1; its first draft token stands for token t + 2.

    Attributes:
        tokens: int64 [B, T + 1], zero past a sample's end.
        aux: [B, T, A * H].
        last: [B, T, H].
        rows: int64 [B], rows of each sample.
        prompt: int64 [B], prompt tokens of each sample.
    """

    tokens: Tensor
    aux: Tensor
    last: Tensor
    rows: Tensor
    prompt: Tensor

    @classmethod
    def of(cls, samples: Sequence[Sample], dtype: torch.dtype) -> Self:
        """Pad samples to the longest."""
        rows = [sample.aux.shape[0] for sample in samples]
        width = max(rows)
        first = samples[0]
        tokens = torch.zeros((len(samples), width + 1), dtype=torch.int64)
        aux = torch.zeros((len(samples), width, first.aux.shape[1]), dtype=dtype)
        last = torch.zeros((len(samples), width, first.last.shape[1]), dtype=dtype)
        for i, (sample, n) in enumerate(zip(samples, rows, strict=True)):
            tokens[i, : n + 1] = sample.tokens
            aux[i, :n] = sample.aux
            last[i, :n] = sample.last
        prompt = torch.tensor([sample.prompt_tokens for sample in samples])
        return cls(tokens, aux, last, torch.tensor(rows), prompt)

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(
            *(x.to(device, non_blocking=True) for x in (self.tokens, self.aux, self.last, self.rows, self.prompt))
        )

    def roots(self) -> Tensor:
        """Bool [B, T]: rows where serving starts, or could start, a verify cycle: from the prompt's last token on."""
        t = torch.arange(self.aux.shape[1], device=self.rows.device)[None]
        return (t >= self.prompt[:, None] - 1) & (t < self.rows[:, None])

    def supervised(self, step: int) -> Tensor:
        """Bool [B, T]: roots whose ``step``-th draft token (from 0) the target has supervised in this sample."""
        t = torch.arange(self.aux.shape[1], device=self.rows.device)[None]
        return self.roots() & (t + step + 1 < self.rows[:, None])

    def shifted(self, by: int) -> Tensor:
        """int64 [B, T]: token t + ``by`` at row t, zero past the end."""
        width = self.aux.shape[1]
        out = torch.zeros((self.tokens.shape[0], width), dtype=torch.int64, device=self.tokens.device)
        count = max(0, min(width, self.tokens.shape[1] - by))
        out[:, :count] = self.tokens[:, by : by + count]
        return out
