"""Are two greedy answers the same, and where they are not, was it a tie?

Speculation changes no distribution, but it changes the shapes of the target's matrix products, and with them the
order in which low-precision sums are rounded. Two tokens whose logits lie closer than that rounding can then change
places. An answer that differs is harmless where its first differing token is such a tie, and a bug where it is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_MANTISSA = {"bfloat16": 7, "float16": 10, "float32": 23}


@dataclass(frozen=True)
class Difference:
    """Where two answers part.

    Attributes:
        at: index of the first token that differs.
        gap: how far apart the two tokens' logits are, by an independent fp32 computation.
        rounding: what the dtype's rounding can shift their difference by.
    """

    at: int
    gap: float
    rounding: float

    @property
    def is_tie(self) -> bool:
        """Whether rounding alone explains the difference."""
        return self.gap <= self.rounding


def unit(value: float, dtype: str) -> float:
    """The spacing of ``dtype`` at a value (unit in the last place)."""
    return float(2.0 ** (math.floor(math.log2(max(abs(value), 1e-30))) - _MANTISSA[dtype]))


@torch.no_grad()
def compare(
    reference: Any,  # noqa: ANN401 (a transformers model)
    prompt: Sequence[int],
    one: Sequence[int],
    other: Sequence[int],
    dtype: str,
) -> Difference | None:
    """Compare two answers to one prompt.

    Args:
        reference: the target as a transformers model in fp32.
        prompt, one, other: token ids.
        dtype: what the engine computes in; either logit may be off by a unit of it in the last place.

    Returns:
        None where the answers are the same.
    """
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if at == len(one) == len(other):
        return None
    if at in (len(one), len(other)):
        return Difference(at, math.inf, 0.0)
    logits = reference(torch.tensor([[*prompt, *one[:at]]])).logits[0, -1]
    first, second = float(logits[one[at]]), float(logits[other[at]])
    rounding = unit(first, dtype) + unit(second, dtype)
    top = logits.topk(2).values
    # A tie is between the leaders: a token far below them was not a matter of rounding.
    gap = max(abs(first - second), float(top[0]) - min(first, second))
    return Difference(at, gap, rounding)
