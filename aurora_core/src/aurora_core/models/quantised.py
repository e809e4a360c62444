"""Tensors of quantised checkpoints, as the numbers that they stand for, or an error: never the stored numbers."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from aurora_core.arithmetic import is_finite
from aurora_core.errors import ConfigError

_PLAIN = (torch.bfloat16, torch.float16, torch.float32)
_SCALED = (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8)
_SCALES = ("_scale_inv", "_scale")
_PACKED = ("_packed", "_blocks")
_FURTHER = ("_zero_point", "_offset", "_scale_2")
"""What shifts or scales the numbers once more: a weight that has one is not its product with its scale."""


def read(name: str, get: Callable[[str], Tensor | None], block: Sequence[int] | None) -> Tensor | None:
    """A tensor as the numbers that it stands for.

    FP8 and INT8 weights are multiplied by the scale beside them, of the tensor, of each row, or of each block.

    Args:
        name: of the tensor.
        get: reads a tensor of the checkpoint as it is stored, or gives None.
        block: rows and columns of a block, where the checkpoint has a scale for each.

    Returns:
        bf16, fp16 or fp32; None where the checkpoint has no such tensor in any form.

    Raises:
        ConfigError: it is there in a form that is not read here, or is not finite.
    """
    stored = get(name)
    if stored is None:
        stem = name.removesuffix(".weight")
        packed = next((x for x in (*(name + p for p in _PACKED), f"{stem}.qweight") if get(x) is not None), None)
        if packed is not None:
            raise ConfigError(f"{packed} is quantised in a way that is not read here")
        return None
    if stored.dtype in _PLAIN:
        return _finite(name, stored)
    scale = next((s for s in (get(name + suffix) for suffix in _SCALES) if s is not None), None)
    if stored.dtype not in _SCALED or scale is None:
        beside = "without a scale beside it" if scale is None else "packed"
        raise ConfigError(f"{name} is {str(stored.dtype).removeprefix('torch.')} {beside}, which is not read here")
    further = next((name + suffix for suffix in _FURTHER if _counts(get(name + suffix))), None)
    if further is not None:
        raise ConfigError(f"{name} has {further} beside its scale, which is not read here")
    if not scale.is_floating_point():
        kind = str(scale.dtype).removeprefix("torch.")
        raise ConfigError(f"{name} has a scale of {kind}, which are exponents or an index and are not read here")
    spread = _spread(scale.to(torch.float32), stored.shape, block)
    if spread is None:
        raise ConfigError(f"{name} is {list(stored.shape)} and its scale {list(scale.shape)}, which fit no rule here")
    return _finite(name, stored.to(torch.float32) * spread)


def _finite(name: str, tensor: Tensor) -> Tensor:
    if not is_finite(tensor):
        raise ConfigError(f"{name} has numbers that are NaN or infinite")
    return tensor


def block(quantisation: object) -> tuple[int, int] | None:
    """Rows and columns of a block by the ``quantization_config`` of config.json; None where no blocks are named.

    Raises:
        ConfigError: it is none.
    """
    if quantisation is None:
        return None
    size = quantisation.get("weight_block_size") if isinstance(quantisation, Mapping) else quantisation
    if size is None:
        return None
    match size:
        case [int(rows), int(columns)] if rows > 0 and columns > 0:
            return rows, columns
    raise ConfigError(f"quantization_config's weight_block_size is {size!r:.60}, not two integers above 0")


def _counts(found: Tensor | None) -> bool:
    """Whether it is there and not zero, as zero points of symmetric quantisation are."""
    return found is not None and bool((found.to(torch.float32) != 0).any())


def _spread(scale: Tensor, shape: Sequence[int], block: Sequence[int] | None) -> Tensor | None:
    """The scale of every element, or something that broadcasts to it."""
    if scale.numel() == 1:
        return scale.reshape(())
    rows, columns = shape[0], shape[-1]
    if block is not None and tuple(scale.shape) == (-(-rows // block[0]), -(-columns // block[1])):
        return scale.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :columns]
    if block is None and scale.numel() == rows and tuple(scale.shape) in {(rows,), (rows, 1)}:
        return scale.reshape(rows, *[1] * (len(shape) - 1))
    return None
