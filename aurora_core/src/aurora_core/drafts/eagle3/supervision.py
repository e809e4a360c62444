"""Forward and backward of one micro-batch: plainly, as the definition of what is meant, and packed, which is fast."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from aurora_core.drafts import sums
from aurora_core.drafts.eagle3 import attention, gpu_chains
from aurora_core.drafts.eagle3.chains import chains
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.drafts.eagle3.unroll import unroll
from aurora_core.drafts.family import StepSums, Teacher
from aurora_core.losses import frozen, fused, reference
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
    head = teacher.head if draft.head is None else draft.head
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
            loss, rows, prediction = reference.forward_kl(hidden, head, every, b * width + t + k + 1, weight)
            total = total + loss
            found.append((rows, prediction == label[b, t]))
    (total * scale).backward()  # type: ignore[no-untyped-call]
    return sums.of_steps(found)


def _read(remaining_R: Tensor, label_R: Tensor, steps: int) -> tuple[Tensor, Tensor, list[int]]:
    """Which roots' outputs have a loss at which steps: those whose label there is in the draft's vocabulary.

    Returns:
        int64 [N] steps ascending, int64 [N] roots ascending in each, and how many each step has.
    """
    count = label_R.shape[0]
    step = torch.arange(steps, device=label_R.device)[:, None]
    at = (torch.arange(count, device=label_R.device)[None] + step).clamp(max=count - 1)
    mask = (remaining_R[None] > step) & (label_R[at] >= 0)
    step_N, root_N = mask.nonzero(as_tuple=True)
    return step_N, root_N, mask.sum(1).tolist()


def _outputs(
    draft: Eagle3Draft, teacher: Teacher, rows: Packed, steps: int, read: Sequence[Tensor]
) -> Iterator[Tensor]:
    """Outputs of the roots that are read at each step."""
    kernel = attention.kernel_for(teacher.dtype, teacher.device, draft.config.head_dim)
    if kernel is not None:
        for out, roots in zip(gpu_chains.chains(draft, teacher.embedding, rows, steps, kernel), read, strict=True):
            yield out.index_select(0, roots)
        return
    for (left, out), roots in zip(chains(draft, teacher.embedding, rows, steps), read, strict=False):
        yield out[torch.searchsorted(left, roots)]


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
    device = teacher.device
    rows = Packed.of(samples, teacher.dtype, pinned=device.type == "cuda")
    label = teacher.to_draft[rows.label.to(device)]
    # Before anything heavy is launched: the host learns how many rows there are, and need not wait again.
    step_N, root_N, counts = _read(rows.remaining.to(device), label, steps)
    rows, row_N = rows.to(device), root_N + step_N
    with teacher.autocast():
        hidden = torch.cat(
            [out.to(teacher.dtype) for out in _outputs(draft, teacher, rows, steps, torch.split(root_N, counts))]
        )
        if draft.head is None:
            # The rows that are compared with the same row of the target side by side.
            row_N, order = row_N.sort(stable=True)
            step_N, hidden = step_N[order], hidden[order]
            weight = decay ** step_N.float()
            total, loss, prediction = frozen.forward_kl(
                hidden, teacher.head, rows.last, teacher.soft_cap, row_N, weight
            )
        else:
            with torch.no_grad():
                teacher_rows: TargetRows = target_rows(rows.last, teacher.head, teacher.soft_cap)
            weight = decay ** step_N.float()
            total, loss, prediction = fused.forward_kl(hidden, draft.head, teacher_rows, row_N, weight)
    (total * scale).backward()  # type: ignore[no-untyped-call]
    return sums.of_rows(step_N, loss, prediction == label[row_N], steps)
