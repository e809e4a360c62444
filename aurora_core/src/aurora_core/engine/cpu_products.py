"""The engine's matrix products on a CPU: what decoding and verifying are made of.

A product of a few rows takes as long as its weights take to read, if the library lets it. oneDNN does, once it has the
weights in an order of its own: then four rows take little longer than one. So they are kept in that order too, beside
the plain ones, which whoever reads or changes weights still needs; it is made again after every change.

Where weights stay as they are, in fp32, MKL's way to compute ``x @ weight.T`` of 2 to 4 rows takes up to three times as
long as of one: ``weight @ x.T`` is the same product and reads the weights once.

Measured by ``benchmarks/cycle.py --products``.
"""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from sglang.srt.layers.linear import LinearBase
from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod
from sglang.srt.plugins.hook_registry import HookType
from torch import Tensor, nn

from aurora_core.arithmetic import has_bf16_units
from aurora_core.products import onednn

log = logging.getLogger(__name__)

_MOST_ROWS = 5
"""Above, ``x @ weight.T`` of plain fp32 weights is as fast as ``weight @ x.T``."""
MOST_BYTES = 4 << 30
"""Of weights that are kept twice; a larger model's are left as they are."""
_PACKED = "aurora_packed"


def _products(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model whose products are computed here: unquantised linear ones, and its head."""
    for module in model.modules():
        if isinstance(module, LinearBase) and isinstance(module.quant_method, UnquantizedLinearMethod):
            yield module
        head = getattr(module, "lm_head", None)
        # A draft that uses its target's head is given it afterwards.
        if isinstance(head, nn.Module) and not getattr(module, "load_lm_head_from_target", False):
            yield head


def _packable(layer: nn.Module) -> Tensor | None:
    """The weights of a layer, if oneDNN computes their type well on this CPU and SGLang has not packed them for AMX."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or getattr(layer, "use_intel_amx_backend", False):  # noqa: PLR2004 (a matrix)
        return None
    fast = weight.dtype == torch.float32
    if weight.dtype == torch.bfloat16:
        fast = has_bf16_units(weight.device)
    return weight if fast else None


def packed(weight: Tensor) -> Tensor:
    """The same weights, [out, in], in oneDNN's order."""
    # What torch's own compiler calls for a linear layer; there is no public name for it.
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)  # noqa: SLF001
    return reordered


def pack(model: nn.Module) -> int:
    """Keep a model's weights in oneDNN's order too; returns their bytes, 0 where they are left as they are."""
    weights = {layer: weight for layer in _products(model) if (weight := _packable(layer)) is not None}
    size = sum(weight.nbytes for weight in weights.values())
    if size > MOST_BYTES:
        log.info("matrix products: weights of %.1f GiB stay in one order", size / 2**30)
        return 0
    for layer, weight in weights.items():
        setattr(layer, _PACKED, (weight, packed(weight)))
    return size


def _other(layer: Any) -> Tensor | None:
    """The layer's weights in the other order; None where it has none, or where another weight took the place of its."""
    weight, other = getattr(layer, _PACKED, (None, None))
    return other if weight is layer.weight else None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, other: Tensor | None = None) -> Tensor | None:
    """``F.linear``, where this is the faster way.

    Args:
        x: [n, in].
        weight: [out, in].
        bias: [out].
        other: :func:`packed` weights, if there are any.

    Returns:
        [n, out], contiguous; None where SGLang's way serves.
    """
    rows = x.shape[0]
    if x.dim() != 2 or not rows or x.dtype != weight.dtype:  # noqa: PLR2004 (a matrix)
        return None
    if other is not None:
        return onednn(x.contiguous(), other, bias)
    if x.dtype != torch.float32 or rows > _MOST_ROWS:
        return None
    if rows == 1:
        return onednn(x.contiguous(), weight, bias)
    out = torch.mm(weight, x.t()).t().contiguous()
    return out if bias is None else out.add_(bias)


def linear(original: Any, method: Any, layer: Any, x: Tensor, bias: Tensor | None = None) -> Any:
    """In the place of SGLang's product of a layer without quantisation."""
    out = product(x, layer.weight, bias, _other(layer))
    return original(method, layer, x, bias) if out is None else out


def head(original: Any, processor: Any, states: Tensor, lm_head: Any, *rest: Any, **named: Any) -> Any:
    """In the place of SGLang's product of a head, of the target or of the draft."""
    plain = isinstance(getattr(lm_head, "weight", None), Tensor) and not hasattr(lm_head, "apply_lora")
    biased = any(isinstance(one, Tensor) for one in rest) or named.get("embedding_bias") is not None
    out = product(states, lm_head.weight, None, _other(lm_head)) if plain and not biased else None
    return original(processor, states, lm_head, *rest, **named) if out is None else out


def loaded(_result: Any, model: nn.Module, *_: Any, **__: Any) -> None:
    """After SGLang has loaded or changed a model's weights; whatever fails here, it serves with them as they are."""
    try:
        pack(model)
    except (AttributeError, RuntimeError):
        for layer in _products(model):
            layer.__dict__.pop(_PACKED, None)
        log.exception("matrix products: weights stay in one order")


def changed(_result: Any, updater: Any, *_: Any, **__: Any) -> None:
    """After SGLang took weights from another process, which it does without the step that :func:`loaded` follows."""
    loaded(None, updater.get_model())


def hooks() -> list[tuple[str, HookType, Callable[..., Any]]]:
    """What is hooked of an engine on a CPU, with a draft and without; nothing elsewhere, nor without oneDNN."""
    if os.environ.get("SGLANG_USE_CPU_ENGINE") != "1" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return []
    srt = "sglang.srt"
    updater = f"{srt}.model_executor.model_runner_components.weight_updater.WeightUpdater"
    return [
        (f"{srt}.layers.quantization.unquant.UnquantizedLinearMethod.apply", HookType.AROUND, linear),
        (f"{srt}.layers.logits_processor.LogitsProcessor._compute_lm_head", HookType.AROUND, head),
        (f"{srt}.model_loader.loader.DefaultModelLoader.postprocess_weights", HookType.AFTER, loaded),
        (f"{updater}.update_weights_from_ipc", HookType.AFTER, changed),
    ]
