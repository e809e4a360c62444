"""The forward KL of :mod:`aurora_core.losses.reference` for a draft that proposes through its target's head.

Nothing of the head is trained, so that hidden states alone have gradients, made in the forward pass as in
:mod:`aurora_core.losses.fused`. The target's distribution is over all of its tokens: too many to keep for every row, so
it is made for the rows of a chunk and dropped with it. Rows that are compared with the same row of the target must lie
together.
"""

from typing import Any

import torch
from torch import Tensor

from aurora_core.losses.fused import rows_at_once, softmax
from aurora_core.losses.reference import target_rows
from aurora_core.products import product


class _ForwardKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (autograd's context has no type)
        hidden_ND: Tensor,
        head_VD: Tensor,
        last_RD: Tensor,
        soft_cap: float | None,
        row_N: Tensor,
        weight_N: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        count, chunk = hidden_ND.shape[0], rows_at_once(head_VD)
        loss = torch.empty(count, dtype=torch.float32, device=hidden_ND.device)
        prediction = torch.empty(count, dtype=torch.int64, device=hidden_ND.device)
        grad_hidden = torch.empty_like(hidden_ND)
        for start in range(0, count, chunk):
            span = slice(start, start + chunk)
            distinct, row = torch.unique_consecutive(row_N[span], return_inverse=True)
            target = target_rows(last_RD[distinct], head_VD, soft_cap)
            p = target.p[row]
            logits = product(hidden_ND[span], head_VD).float()
            prediction[span] = likeliest = logits.argmax(-1)
            q, log_z = softmax(logits, likeliest)
            loss[span] = log_z - torch.linalg.vecdot(p, logits) + target.negentropy[row]
            grad = q.sub_(p).mul_(weight_N[span, None]).to(hidden_ND.dtype)
            grad_hidden[span] = product(grad, head_VD.t())
        ctx.save_for_backward(grad_hidden)
        ctx.mark_non_differentiable(loss, prediction)
        return (loss * weight_N).sum(), loss, prediction

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (grad_hidden,) = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), None, None, None, None, None


def forward_kl(
    hidden_ND: Tensor, head_VD: Tensor, last_RD: Tensor, soft_cap: float | None, row_N: Tensor, weight_N: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`aurora_core.losses.reference.forward_kl`.

    Args:
        hidden_ND: the draft's output after its final norm.
        head_VD: the target's head, in the same type.
        last_RD: the target's last hidden states at some rows.
        soft_cap: bound of the target's logits, or None.
        row_N: int64, which of those rows each row is compared with.
        weight_N: of each row in the sum.
    """
    total, loss, prediction = _ForwardKL.apply(hidden_ND, head_VD, last_RD, soft_cap, row_N, weight_N)
    return total, loss, prediction
