"""Forward KL from the target's next-token distribution to the draft's, over the draft's vocabulary.

KL(p || q) = Σ_v p(v) (log p(v) - log q(v)), where p is the target's softmax restricted to the draft's vocabulary
and renormalised, and q the draft's softmax. Letters in shapes: N rows, D width, V draft vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from aurora_core.models.target import capped
from aurora_core.products import linear


class TargetRows(NamedTuple):
    """The target's distribution at some rows.

    Attributes:
        p: [N, V], probabilities.
        negentropy: [N], Σ p log p.
    """

    p: Tensor
    negentropy: Tensor


def target_rows(last_ND: Tensor, head_VD: Tensor, soft_cap: float | None = None) -> TargetRows:
    """The target's distribution, recomputed from its last hidden states, its head's rows and its logits' soft-cap."""
    log_p = capped(linear(last_ND, head_VD.to(last_ND.dtype)).float(), soft_cap).log_softmax(-1)
    p = log_p.exp()
    return TargetRows(p, (p * log_p).sum(-1))


def forward_kl(
    hidden_ND: Tensor, lm_head_VD: Tensor, target: TargetRows, row_N: Tensor, weight_N: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The weighted sum of the forward KL over rows, with each row's own and the draft's predictions.

    Args:
        hidden_ND: the draft's output after its final norm.
        lm_head_VD: the draft's head.
        target: the target's distribution at some rows.
        row_N: int64, which of the target's rows each row is compared with.
        weight_N: of each row in the sum.

    Returns:
        A scalar that has gradients, and without any: fp32 [N], the rows' losses, and int64 [N], draft ids.
    """
    logits = linear(hidden_ND, lm_head_VD.to(hidden_ND.dtype)).float()
    loss = target.negentropy[row_N] - (target.p[row_N] * logits.log_softmax(-1)).sum(-1)
    return (loss * weight_N).sum(), loss.detach(), torch.argmax(logits.detach(), -1)
