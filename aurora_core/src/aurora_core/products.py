"""Matrix products of training in fp32 on a CPU, by the faster of two libraries.

torch gives them to MKL, which uses no more than AVX2 on a processor that is not Intel's; oneDNN, which torch has for
other types, uses what there is. Which of them is faster is measured once in each process. Whatever is not fp32 on a CPU
goes torch's way.

Letters in shapes: M, N rows, K width.
"""

import logging
import time
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)
_ROWS, _WIDTH, _OUT = 256, 576, 1536
"""A product of a small draft's training: a micro-batch's rows through a layer."""
_MARGIN = 1.2
"""How much faster oneDNN must be: each new shape costs it half a millisecond."""


def _plain(x: Tensor) -> Tensor:
    """The same without gaps between rows or columns, for which oneDNN has no fast way."""
    return x if x.is_contiguous() or x.t().is_contiguous() else x.contiguous()


def onednn(a_MK: Tensor, b_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """The product with the transpose, [M, N], by oneDNN; ``b_NK`` may be in an order of oneDNN's own."""
    # What torch's own compiler calls for a linear layer; there is no public name for it.
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a_MK, b_NK, bias_N, "none", [], "")  # noqa: SLF001
    return product


def _onednn(a_MK: Tensor, b_NK: Tensor) -> Tensor:
    return onednn(_plain(a_MK), _plain(b_NK))


def _torch(a_MK: Tensor, b_NK: Tensor) -> Tensor:
    return torch.mm(a_MK, b_NK.t())


def seconds(dtype: torch.dtype, *, onednn: bool = False) -> float:
    """CPU seconds that one thread takes for a matrix product of training."""
    a, b = torch.ones(_ROWS, _WIDTH, dtype=dtype), torch.ones(_OUT, _WIDTH, dtype=dtype)
    multiply = _onednn if onednn else _torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        multiply(a, b)
        began = time.thread_time()
        multiply(a, b)
        return time.thread_time() - began
    finally:
        torch.set_num_threads(threads)


@cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies fp32 faster than torch's default on this CPU; takes 0.1 s, once.

    The best of several rounds in turn: other work on the machine only ever makes one slower.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    rounds = [(seconds(torch.float32, onednn=True), seconds(torch.float32)) for _ in range(9)]
    onednn, default = (min(one) for one in zip(*rounds, strict=True))
    log.info("a product in fp32 takes %.1f ms of oneDNN and %.1f ms of torch's default", 1e3 * onednn, 1e3 * default)
    return bool(onednn * _MARGIN < default)


def _by_onednn(a: Tensor, b: Tensor) -> bool:
    fp32 = a.dtype == b.dtype == torch.float32 and a.device.type == b.device.type == "cpu"
    return fp32 and a.numel() > 0 and b.numel() > 0 and onednn_is_faster()


def product(a_MK: Tensor, b_NK: Tensor) -> Tensor:
    """The product with the transpose, [M, N], without gradients."""
    return _onednn(a_MK, b_NK) if _by_onednn(a_MK, b_NK) else _torch(a_MK, b_NK)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_MK: Tensor, weight_NK: Tensor) -> Tensor:  # noqa: ANN401 (autograd's context has no type)
        ctx.save_for_backward(x_MK, weight_NK)
        return product(x_MK, weight_NK)

    @staticmethod
    def backward(ctx: Any, grad_MN: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: ANN401
        x_MK, weight_NK = ctx.saved_tensors
        of_x = product(grad_MN, weight_NK.t()) if ctx.needs_input_grad[0] else None
        of_weight = product(grad_MN.t(), x_MK.t()) if ctx.needs_input_grad[1] else None
        return of_x, of_weight


def linear(x: Tensor, weight_NK: Tensor) -> Tensor:
    """As :func:`torch.nn.functional.linear` without a bias, gradients included: [..., K] to [..., N]."""
    if torch.is_autocast_enabled(x.device.type) or not _by_onednn(x, weight_NK):
        return F.linear(x, weight_NK)
    flat: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight_NK)
    return flat.view(*x.shape[:-1], weight_NK.shape[0])
