"""Are two greedy answers the same, and where they are not, was it a tie?

Speculation changes no distribution, but it changes the shapes of the target's matrix products, and with them the
order in which low-precision sums are rounded. Two tokens whose logits lie closer than that rounding can then swap
ranks. An answer that differs is harmless where its first differing token is such a tie, and a bug where it is not.

What rounding does is measured and not assumed: the target is computed once more in the engine's dtype and once more
precisely, both by another implementation (transformers), for the very prefix at which the answers part. What the two
differ by over the vocabulary is what rounding does to the hidden states. The logits that lead are larger than most, so
that rounding them to the dtype at last does more to them: by up to half its spacing there, each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from aurora_core.arithmetic import ComputeDtype

DEVIATIONS = 3.0
"""Rounded hidden states are taken to shift two logits' difference by no more than so many standard deviations."""

_PRECISE: Mapping[ComputeDtype, torch.dtype] = {
    "bfloat16": torch.float32,
    "float16": torch.float32,
    "float32": torch.float64,
}


@dataclass(frozen=True)
class Difference:
    """Where two answers part.

    Attributes:
        at: index of the first token that differs.
        gap: how far the lower of the two tokens' logits lies below the leading one, computed precisely.
        rounding: what the engine's dtype can shift the difference of two logits by at this prefix.
    """

    at: int
    gap: float
    rounding: float

    @property
    def is_tie(self) -> bool:
        """Whether rounding alone explains the difference."""
        return self.gap <= self.rounding


@dataclass(frozen=True)
class Identity:
    """How many answers to the same prompts are the same, and how many part at a tie."""

    differences: tuple[Difference | None, ...]

    @property
    def compared(self) -> int:
        """Pairs of answers."""
        return len(self.differences)

    @property
    def same(self) -> int:
        """Pairs without a difference."""
        return sum(d is None for d in self.differences)

    @property
    def ties(self) -> int:
        """Pairs that part at a tie."""
        return sum(d is not None and d.is_tie for d in self.differences)

    @property
    def unexplained(self) -> int:
        """Pairs that differ without a tie: a fault."""
        return self.compared - self.same - self.ties


def spacing(value: float, dtype: str) -> float:
    """How far apart neighbouring numbers of a dtype are at a value."""
    return float(torch.finfo(getattr(torch, dtype)).eps * 2.0 ** math.floor(math.log2(max(abs(value), 1e-30))))


class LogitChecker:
    """The target by another implementation: precisely, and in the engine's dtype."""

    @classmethod
    def load(cls, target: Path, dtype: ComputeDtype) -> Self:
        """Load it twice.

        Args:
            target: folder of the target's checkpoint.
            dtype: what the engine computes in, as resolved: a configured ``auto`` is no dtype.
        """
        precise, rounded = (
            AutoModelForCausalLM.from_pretrained(target, dtype=one).eval()
            for one in (_PRECISE[dtype], getattr(torch, dtype))
        )
        return cls(dtype, AutoTokenizer.from_pretrained(target), precise, rounded)

    def __init__(self, dtype: ComputeDtype, tokenizer: Any, precise: Any, rounded: Any) -> None:  # noqa: ANN401 (transformers)
        self._dtype = dtype
        self._tokenizer = tokenizer
        self._precise = precise
        self._rounded = rounded

    def identity(self, one: Mapping[str, Sequence[int]], other: Mapping[str, Sequence[int]]) -> Identity:
        """Compare the answers, token ids by prompt, to every prompt that both answered."""
        pairs = [(prompt, one[prompt], other[prompt]) for prompt in one if prompt in other]
        return Identity(tuple(self.compare(self._tokenizer(prompt)["input_ids"], a, b) for prompt, a, b in pairs))

    @torch.no_grad()
    def compare(self, prompt: Sequence[int], one: Sequence[int], other: Sequence[int]) -> Difference | None:
        """Compare two answers to one prompt, all as token ids; None where they are the same."""
        at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        if at == len(one) == len(other):
            return None
        if at in (len(one), len(other)):
            return Difference(at, math.inf, 0.0)
        prefix = torch.tensor([[*prompt, *one[:at]]])
        precise = self._precise(prefix).logits[0, -1].double()
        error = self._rounded(prefix).logits[0, -1].double() - precise
        # A tie is between the leaders: a token far below them was not a matter of rounding.
        logits = [float(precise[ids[at]]) for ids in (one, other)]
        hidden = DEVIATIONS * math.sqrt(2) * float(error.std())
        last = sum(spacing(logit, self._dtype) / 2 for logit in logits)
        return Difference(at, float(precise.max()) - min(logits), hidden + last)
