"""The forward KL of :mod:`aurora_core.losses.reference`, with the gradients computed in the forward pass.

Logits are made, used for loss, prediction and gradient, and dropped, a chunk of rows at a time: neither they nor their
softmax live until the backward pass, which only scales what is ready. The gradient of a row's loss with respect to its
logits is softmax(logits) - p. Targets are gathered for a chunk at a time, so that rows of several unrolled steps can
share them without copies.
"""

from typing import Any

import torch
from torch import Tensor

from aurora_core.losses.reference import TargetRows
from aurora_core.products import product

CHUNK_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}
"""Logits that exist at a time: as many as a processor's caches are good for, and as fill a GPU's matrix units."""


def rows_at_once(head_VD: Tensor) -> int:
    """How many rows' logits of a head exist at a time."""
    return max(1, CHUNK_ELEMENTS.get(head_VD.device.type, 1 << 23) // head_VD.shape[0])


def softmax(logits_NV: Tensor, likeliest_N: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax and the logarithm of its sum, from its largest value alone, without another pass over all of them."""
    q = logits_NV.softmax(-1)
    at = likeliest_N[:, None]
    return q, (logits_NV.gather(-1, at) - q.gather(-1, at).log())[:, 0]


class _ForwardKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (autograd's context has no type)
        hidden_ND: Tensor,
        lm_head_VD: Tensor,
        target: TargetRows,
        row_N: Tensor,
        weight_N: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        head = lm_head_VD.to(hidden_ND.dtype)
        count, chunk = hidden_ND.shape[0], rows_at_once(head)
        loss = torch.empty(count, dtype=torch.float32, device=hidden_ND.device)
        prediction = torch.empty(count, dtype=torch.int64, device=hidden_ND.device)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_head = torch.zeros_like(head, dtype=torch.float32)
        for start in range(0, count, chunk):
            span = slice(start, start + chunk)
            hidden, row = hidden_ND[span], row_N[span]
            p = target.p[row]
            logits = product(hidden, head).float()
            prediction[span] = likeliest = logits.argmax(-1)
            q, log_z = softmax(logits, likeliest)
            loss[span] = log_z - torch.linalg.vecdot(p, logits) + target.negentropy[row]
            grad = q.sub_(p).mul_(weight_N[span, None]).to(hidden.dtype)
            grad_hidden[span] = product(grad, head.t())
            grad_head += product(grad.t(), hidden.t())
        ctx.save_for_backward(grad_hidden, grad_head)
        ctx.mark_non_differentiable(loss, prediction)
        return (loss * weight_N).sum(), loss, prediction

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, None, None, None]:  # noqa: ANN401
        grad_hidden, grad_head = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), grad_head * grad, None, None, None


def forward_kl(
    hidden_ND: Tensor, lm_head_VD: Tensor, target: TargetRows, row_N: Tensor, weight_N: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`aurora_core.losses.reference.forward_kl`."""
    total, loss, prediction = _ForwardKL.apply(hidden_ND, lm_head_VD, target, row_N, weight_N)
    return total, loss, prediction
