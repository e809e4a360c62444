"""Products of a few rows with a large fp32 matrix on a CPU: what decoding and verifying are made of.

They take as long as the weights take to read, if the library lets them. MKL's way to compute ``x @ weight.T`` of 2 to 4
rows takes up to three times as long, and its way for one row reads slowly. ``weight @ x.T`` is the same product, and 4
rows take no longer than MKL's one. bf16 needs none of this: oneDNN computes it well.
"""

import os
from collections.abc import Callable
from typing import Any

import torch
from sglang.srt.plugins.hook_registry import HookType
from torch import Tensor

_MOST_ROWS = 5
"""Above, ``x @ weight.T`` is as fast: measured with AVX2 by ``benchmarks/cycle.py --products``."""


def taken(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`product` is the faster way: [n, in] and [out, in]."""
    return x.dim() == 2 and 0 < x.shape[0] <= _MOST_ROWS and x.dtype == weight.dtype == torch.float32  # noqa: PLR2004 (a matrix)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` of few fp32 rows.

    Args:
        x: [n, in].
        weight: [out, in].
        bias: [out].

    Returns:
        [n, out], contiguous.
    """
    rows = x.shape[0]
    columns = torch.mm(weight, (x if rows > 1 else x.expand(2, -1)).t())
    out = columns[:, :rows].t().contiguous()
    return out if bias is None else out.add_(bias)


def linear(original: Any, method: Any, layer: Any, x: Tensor, bias: Tensor | None = None) -> Any:
    """In the place of SGLang's product of a layer without quantisation."""
    weight = layer.weight
    return product(x, weight, bias) if taken(x, weight) else original(method, layer, x, bias)


def head(original: Any, processor: Any, states: Tensor, lm_head: Any, *rest: Any, **named: Any) -> Any:
    """In the place of SGLang's product of a head, of the target or of the draft."""
    weight = getattr(lm_head, "weight", None)
    if isinstance(weight, Tensor) and taken(states, weight) and not hasattr(lm_head, "apply_lora"):
        return product(states, weight)
    return original(processor, states, lm_head, *rest, **named)


def hooks() -> list[tuple[str, HookType, Callable[..., Any]]]:
    """What is hooked of an engine on a CPU, with a draft and without; nothing elsewhere."""
    if os.environ.get("SGLANG_USE_CPU_ENGINE") != "1":
        return []
    layers = "sglang.srt.layers"
    return [
        (f"{layers}.quantization.unquant.UnquantizedLinearMethod.apply", HookType.AROUND, linear),
        (f"{layers}.logits_processor.LogitsProcessor._compute_lm_head", HookType.AROUND, head),
    ]
