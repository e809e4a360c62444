"""The forward KL of :mod:`aurora_core.losses.reference`, with the gradients computed in the forward pass.

Logits are made, used for loss, choice and gradient, and dropped, a chunk of rows at a time: neither they nor their
softmax live until the backward pass, which only scales what is ready. The gradient of the summed loss with respect
to a row's logits is softmax(logits) - p.
"""

from typing import Any

import torch
from torch import Tensor

from aurora_core.losses.reference import TargetRows

_CHUNK_ELEMENTS = 1 << 23


class _ForwardKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (autograd's context has no type)
        hidden_ND: Tensor,
        lm_head_VD: Tensor,
        p_NV: Tensor,
        negentropy_N: Tensor,
    ) -> tuple[Tensor, Tensor]:
        weight = lm_head_VD.to(hidden_ND.dtype)
        rows = max(1, _CHUNK_ELEMENTS // weight.shape[0])
        loss = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        choices = []
        for start in range(0, hidden_ND.shape[0], rows):
            span = slice(start, start + rows)
            hidden, p = hidden_ND[span], p_NV[span]
            logits = torch.mm(hidden, weight.t()).float()
            choices.append(logits.argmax(-1))
            log_z = logits.logsumexp(-1, keepdim=True)
            loss += (log_z[:, 0] - (p * logits).sum(-1) + negentropy_N[span]).sum()
            grad = logits.sub_(log_z).exp_().sub_(p).to(hidden.dtype)
            grad_hidden[span] = torch.mm(grad, weight)
            grad_weight += torch.mm(grad.t(), hidden)
        ctx.save_for_backward(grad_hidden, grad_weight)
        choice = torch.cat(choices) if choices else torch.empty(0, dtype=torch.int64, device=hidden_ND.device)
        ctx.mark_non_differentiable(choice)
        return loss, choice

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _grad_choice: Tensor) -> tuple[Tensor, Tensor, None, None]:  # noqa: ANN401
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad_loss.to(grad_hidden.dtype), grad_weight * grad_loss, None, None


def forward_kl(hidden_ND: Tensor, lm_head_VD: Tensor, target: TargetRows) -> tuple[Tensor, Tensor]:
    """As :func:`aurora_core.losses.reference.forward_kl`."""
    loss, choice = _ForwardKL.apply(hidden_ND, lm_head_VD, target.p, target.negentropy)
    return loss, choice
