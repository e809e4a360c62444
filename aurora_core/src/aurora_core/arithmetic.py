"""Which floating-point type serving and training compute in, by what the hardware does well.

Where a configuration says ``auto``, each process resolves it once, on the machine that it runs on: bfloat16 on GPUs and
on CPUs with bf16 units, float32 elsewhere. A CPU without them emulates bf16: a matrix product takes up to 80 times as
long. Serving on a CPU reads weights faster than it multiplies, so that half their size wins wherever there are units.
Training multiplies, and some CPUs have units (AVX-512 without AMX) that are slower than fp32: that is measured.
"""

import logging
from functools import cache
from typing import Literal, get_args

import torch

from aurora_core import products
from aurora_core.config.parts import Dtype
from aurora_core.config.training import Precision

ComputeDtype = Literal["bfloat16", "float16", "float32"]
"""A type that something is really computed in."""


log = logging.getLogger(__name__)


def has_bf16_units(device: torch.device) -> bool:
    """Whether a device multiplies bf16 matrices itself, and does not emulate it.

    On a CPU it is oneDNN's own answer, which honours ``ONEDNN_MAX_CPU_ISA``.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 (torch has no public name for it)


@cache
def _multiplies_faster() -> bool:
    """Whether this CPU multiplies large matrices faster in bf16 than in fp32; takes 0.1 s, once.

    The best of several rounds in turn: other work on the machine only ever makes one slower.
    """
    onednn = products.onednn_is_faster()
    rounds = [(products.seconds(torch.bfloat16), products.seconds(torch.float32, onednn=onednn)) for _ in range(9)]
    bf16, fp32 = (min(one) for one in zip(*rounds, strict=True))
    log.info("a product of training takes %.1f ms in bf16 and %.1f ms in fp32", 1e3 * bf16, 1e3 * fp32)
    return bool(bf16 < fp32)


def compute_dtype(configured: Dtype, device: torch.device, checkpoint: str | None) -> ComputeDtype:
    """What the engine computes in.

    Args:
        configured: ``target.dtype``; anything but ``auto`` is the answer.
        device: where the engine runs.
        checkpoint: the dtype that the target's config.json names, if any; float16 is kept on GPUs, because such targets
            were trained within its range and some lose accuracy in bf16.
    """
    if configured != "auto":
        return configured
    if checkpoint == "float16" and device.type == "cuda":
        return "float16"
    return "bfloat16" if has_bf16_units(device) else "float32"


def training_precision(configured: Precision, device: torch.device) -> torch.dtype:
    """The type of the trainer's forward and backward pass; weights and optimizer are fp32 in any case."""
    if configured == "auto":
        fast = has_bf16_units(device) and (device.type == "cuda" or _multiplies_faster())
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if configured == "bf16" else torch.float32


def short_name(dtype: torch.dtype) -> str:
    """bfloat16, float16 or float32."""
    return str(dtype).removeprefix("torch.")


STATE_DTYPES: tuple[torch.dtype, ...] = tuple(getattr(torch, name) for name in get_args(ComputeDtype))
"""Types that hidden states may have."""


def is_finite(tensor: torch.Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether none of a tensor's numbers is NaN or infinite; their sum is taken in ``dtype``.

    A single NaN or infinity survives the sum, and nothing as large as the tensor is made for it.
    """
    return bool(tensor.sum(dtype=dtype).isfinite())
