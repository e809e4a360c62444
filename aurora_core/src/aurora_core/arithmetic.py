"""Which floating-point type serving and training compute in, by what the hardware does well.

Where a configuration says ``auto``, each process resolves it once, on the machine that it runs on: bfloat16 on GPUs and
on CPUs with bf16 units, float32 elsewhere. A CPU without them emulates bf16: a matrix product takes up to 80 times as
long.
"""

from typing import Literal, get_args

import torch

from aurora_core.config.parts import Dtype
from aurora_core.config.training import Precision

ComputeDtype = Literal["bfloat16", "float16", "float32"]
"""A type that something is really computed in."""


def fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 matrices at least as fast as fp32 ones.

    On a CPU it is oneDNN's own answer, which honours ``ONEDNN_MAX_CPU_ISA``.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 (torch has no public name for it)


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
    return "bfloat16" if fast_bf16(device) else "float32"


def training_precision(configured: Precision, device: torch.device) -> torch.dtype:
    """The type of the trainer's forward and backward pass; weights and optimizer are fp32 in any case."""
    if configured == "auto":
        return torch.bfloat16 if fast_bf16(device) else torch.float32
    return torch.bfloat16 if configured == "bf16" else torch.float32


def short_name(dtype: torch.dtype) -> str:
    """bfloat16, float16 or float32."""
    return str(dtype).removeprefix("torch.")


STATE_DTYPES: tuple[torch.dtype, ...] = tuple(getattr(torch, name) for name in get_args(ComputeDtype))
"""Types that hidden states may have."""
