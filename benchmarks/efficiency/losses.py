"""Losses that are compared with the product's forward KL, written plainly.

Each rule takes, of N rows, the draft's logits and the target's distribution p over the draft's vocabulary [N, V] and
the draft's id of the token that the target generated [N], and gives a loss for each row. q is the draft's softmax, and
the acceptance of a row is the chance that speculative sampling accepts its proposal, Σ min(p, q), 1 minus the total
variation.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from aurora_core.drafts import sums
from aurora_core.drafts.eagle3.chains import chains
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.drafts.family import MicroBatch, StepSums, Teacher
from aurora_core.losses.reference import target_rows
from aurora_core.samples.packed import Packed
from aurora_core.samples.schema import Sample
from torch import Tensor

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]
_TINY = 1e-6


def _kl(p: Tensor, log_q: Tensor) -> Tensor:
    return torch.xlogy(p, p).sum(-1) - (p * log_q).sum(-1)


def forward_kl(logits: Tensor, p: Tensor, _: Tensor) -> Tensor:
    """KL(p || q), the product's."""
    return _kl(p, logits.log_softmax(-1))


def reverse_kl(logits: Tensor, p: Tensor, _: Tensor) -> Tensor:
    """KL(q || p)."""
    log_q = logits.log_softmax(-1)
    return (log_q.exp() * (log_q - p.clamp(min=1e-9).log())).sum(-1)


def acceptance(logits: Tensor, p: Tensor) -> Tensor:
    """Σ min(p, q)."""
    return torch.minimum(p, logits.softmax(-1)).sum(-1)


def total_variation(logits: Tensor, p: Tensor, _: Tensor) -> Tensor:
    """1 minus the acceptance."""
    return 1 - acceptance(logits, p)


def log_acceptance(logits: Tensor, p: Tensor, _: Tensor) -> Tensor:
    """Minus the logarithm of the acceptance."""
    return -acceptance(logits, p).clamp(min=_TINY).log()


def kl_and_variation(logits: Tensor, p: Tensor, label: Tensor) -> Tensor:
    """Half of each."""
    return 0.5 * forward_kl(logits, p, label) + 0.5 * total_variation(logits, p, label)


def adaptive_mixture(logits: Tensor, p: Tensor, label: Tensor) -> Tensor:
    """Forward KL where little is accepted, total variation where much is: weights exp(-3 acceptance) and the rest."""
    accepted = acceptance(logits, p)
    share = (-3 * accepted.detach()).exp()
    return share * forward_kl(logits, p, label) + (1 - share) * (1 - accepted)


def cross_entropy(logits: Tensor, _: Tensor, label: Tensor) -> Tensor:
    """Of the generated token alone."""
    return F.cross_entropy(logits, label, reduction="none")


def kl_and_cross_entropy(logits: Tensor, p: Tensor, label: Tensor) -> Tensor:
    """Half of each."""
    return 0.5 * forward_kl(logits, p, label) + 0.5 * cross_entropy(logits, p, label)


def sharpened(logits: Tensor, p: Tensor, _: Tensor) -> Tensor:
    """Forward KL from the target at temperature 0.5."""
    square = p * p
    return _kl(square / square.sum(-1, keepdim=True), logits.log_softmax(-1))


def against_rejected(weight: float) -> Rule:
    """Forward KL, and minus log(1 - q(d)) for a proposal d that would be rejected."""

    def rule(logits: Tensor, p: Tensor, label: Tensor) -> Tensor:
        log_q = logits.log_softmax(-1)
        proposed = logits.detach().argmax(-1)
        q = log_q.gather(1, proposed[:, None])[:, 0].exp()
        negative = -torch.log((1 - q).clamp(min=_TINY))
        return _kl(p, log_q) + weight * negative * (proposed != label)

    return rule


def by_hardness(power: float) -> Rule:
    """Forward KL, a row weighing (1 - acceptance) to a power; weights average 1."""

    def rule(logits: Tensor, p: Tensor, label: Tensor) -> Tensor:
        hard = (1 - acceptance(logits.detach(), p)).clamp(min=0.01) ** power
        return forward_kl(logits, p, label) * hard / hard.mean()

    return rule


RULES: dict[str, Rule] = {
    "forward KL": forward_kl,
    "reverse KL": reverse_kl,
    "total variation": total_variation,
    "KL and total variation": kl_and_variation,
    "log acceptance": log_acceptance,
    "adaptive mixture": adaptive_mixture,
    "cross entropy": cross_entropy,
    "KL and cross entropy": kl_and_cross_entropy,
    "sharpened": sharpened,
    "rejected 0.1": against_rejected(0.1),
    "rejected 0.5": against_rejected(0.5),
    "hardness 0.5": by_hardness(0.5),
    "hardness 1": by_hardness(1.0),
    "survival": forward_kl,
}


def _reached(logits: Tensor, p: Tensor, root_N: Tensor, step_N: Tensor, steps: int) -> Tensor:
    """How likely a cycle gets to each row: the acceptance of its chain's steps before, [N]; averages 1."""
    table = torch.ones(int(root_N.max()) + 1, steps + 1, device=logits.device)
    table[root_N, step_N + 1] = acceptance(logits.detach(), p)
    reached = table[:, :-1].cumprod(-1)[root_N, step_N]
    return reached / reached.mean()


def micro_batch(name: str) -> MicroBatch[Eagle3Draft]:
    """The packed micro-batch with another rule in place of forward KL."""
    rule = RULES[name]

    def run(
        draft: Eagle3Draft, teacher: Teacher, samples: Sequence[Sample], steps: int, decay: float, scale: float
    ) -> StepSums:
        if not any(s.roots for s in samples):
            return sums.nothing(steps)
        rows = Packed.of(samples, teacher.dtype).to(teacher.device)
        label = teacher.to_draft[rows.label]
        hidden, target_row, step = [], [], []
        with teacher.autocast():
            with torch.no_grad():
                every = target_rows(rows.last, teacher.head, teacher.soft_cap)
            for k, (roots, out) in enumerate(chains(draft, teacher.embedding, rows, steps)):
                at = roots + k
                keep = (label[at] >= 0).nonzero()[:, 0]
                hidden.append(out[keep].to(teacher.dtype))
                target_row.append(at[keep])
                step.append(torch.full((keep.numel(),), k, device=teacher.device))
            row_N, step_N = torch.cat(target_row), torch.cat(step)
            logits = F.linear(torch.cat(hidden), draft.lm_head.weight.to(teacher.dtype)).float()
        p, right = every.p[row_N], label[row_N]
        loss = rule(logits, p, right)
        weight = decay ** step_N.float()
        if name == "survival":
            weight = _reached(logits, p, row_N - step_N, step_N, steps)
        ((loss * weight).sum() * scale).backward()  # type: ignore[no-untyped-call]
        return sums.of_rows(step_N, loss.detach(), logits.detach().argmax(-1) == right, steps)

    return run
