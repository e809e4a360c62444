"""Forward and backward of one micro-batch: plainly, as the definition of what is meant, and packed, which is fast."""

from collections.abc import Sequence

import torch
from torch import Tensor

from aurora_core.drafts import sums
from aurora_core.drafts.eagle3.chains import chains
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.drafts.eagle3.unroll import unroll
from aurora_core.drafts.family import StepSums, Teacher
from aurora_core.losses import fused, reference
from aurora_core.losses.reference import TargetRows, target_rows
from aurora_core.samples.batch import Batch
from aurora_core.samples.packed import Packed
from aurora_core.samples.schema import Sample


def plain(
    draft: Eagle3Draft,
    teacher: Teacher,
    samples: Sequence[Sample],
    steps: int,
    decay: float,
    scale: float,
) -> StepSums:
    """Every row of every padded sample through every step; loss where the target has answered."""
    batch = Batch.of(samples, teacher.dtype).to(teacher.device)
    width = batch.aux.shape[1]
    total = torch.zeros((), device=teacher.device)
    found: list[tuple[Tensor, Tensor]] = []
    with teacher.autocast():
        with torch.no_grad():
            every = target_rows(batch.last.flatten(0, 1), teacher.head, teacher.soft_cap)
        for k, out in enumerate(unroll(draft, teacher.embedding, batch, steps)):
            label = teacher.to_draft[batch.shifted(k + 2)]
            b, t = (batch.supervised(k) & (label >= 0)).nonzero(as_tuple=True)
            weight = torch.full((b.numel(),), decay**k, device=teacher.device)
            hidden = out[b, t].to(teacher.dtype)
            loss, rows, prediction = reference.forward_kl(
                hidden, draft.lm_head.weight, every, b * width + t + k + 1, weight
            )
            total = total + loss
            found.append((rows, prediction == label[b, t]))
    (total * scale).backward()  # type: ignore[no-untyped-call]
    return sums.of_steps(found)


def packed(
    draft: Eagle3Draft,
    teacher: Teacher,
    samples: Sequence[Sample],
    steps: int,
    decay: float,
    scale: float,
) -> StepSums:
    """The same sums and gradients as :func:`plain`, computing only what a loss needs, with one head for all steps."""
    if not any(s.roots for s in samples):
        return sums.nothing(steps)
    rows = Packed.of(samples, teacher.dtype).to(teacher.device)
    label = teacher.to_draft[rows.label]
    hidden, target_row, step = [], [], []
    with teacher.autocast():
        with torch.no_grad():
            teacher_rows: TargetRows = target_rows(rows.last, teacher.head, teacher.soft_cap)
        for k, (roots, out) in enumerate(chains(draft, teacher.embedding, rows, steps)):
            at = roots + k
            keep = (label[at] >= 0).nonzero()[:, 0]
            hidden.append(out[keep].to(teacher.dtype))
            target_row.append(at[keep])
            step.append(torch.full((keep.numel(),), k, device=teacher.device))
        row_N, step_N = torch.cat(target_row), torch.cat(step)
        weight = decay ** step_N.float()
        total, loss, prediction = fused.forward_kl(torch.cat(hidden), draft.lm_head.weight, teacher_rows, row_N, weight)
    (total * scale).backward()  # type: ignore[no-untyped-call]
    return sums.of_rows(step_N, loss, prediction == label[row_N], steps)
