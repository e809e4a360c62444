"""Forward and backward of one micro-batch: plainly, as the definition of what is meant, and packed, which is fast.

Each proposal of a block learns the target's own distribution there. Proposals weigh less the further they are, as a
proposal only counts where all before it were right: exp(-1 / gamma) for each further one (Chen et al., 2026), with a
gamma that grows with the block.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from aurora_core.drafts import sums
from aurora_core.drafts.dflash.anchors import Anchors, chosen
from aurora_core.drafts.dflash.blocks import blocks
from aurora_core.drafts.dflash.draft import DFlashDraft
from aurora_core.drafts.dflash.packed import outputs
from aurora_core.drafts.family import StepSums, Teacher
from aurora_core.losses import frozen, reference
from aurora_core.losses.reference import target_rows
from aurora_core.samples.batch import Batch
from aurora_core.samples.packed import Packed
from aurora_core.samples.schema import Sample

_MOST = 512
"""Anchors of a sample; the authors take as many."""
_GAMMAS = ((16, 7.0), (10, 5.0), (8, 4.0))
"""The authors', by the size of a block."""


def decay(block_size: int) -> float:
    """Weight of each further proposal relative to the one before, of blocks of so many tokens."""
    gamma = next((gamma for size, gamma in _GAMMAS if block_size >= size), block_size / 2)
    return math.exp(-1 / gamma)


def _weights(batch: Batch) -> Tensor:
    """fp32 [B, T]: how many roots a row stands for as an anchor; 0 where it is none."""
    out = torch.zeros_like(batch.shifted(0), dtype=torch.float32)
    for weights, rows, prompt in zip(out, batch.rows.tolist(), batch.prompt.tolist(), strict=True):
        roots = rows - prompt
        if roots > 0:
            some = chosen(roots, _MOST)
            weights[prompt - 1 + some.to(out.device)] = roots / some.numel()
    return out


def plain(
    draft: DFlashDraft,
    teacher: Teacher,
    samples: Sequence[Sample],
    steps: int,
    decay: float,
    scale: float,
) -> StepSums:
    """The block of every row of padded samples; loss where the target has answered."""
    batch = Batch.of(samples, teacher.dtype).to(teacher.device)
    width = batch.aux.shape[1]
    total = torch.zeros((), device=teacher.device)
    found: list[tuple[Tensor, Tensor]] = []
    with teacher.autocast():
        every = target_rows(batch.last.flatten(0, 1), teacher.head, teacher.soft_cap)
        weights = _weights(batch)
        out = blocks(draft, teacher.embedding, batch, steps + 1)
        for k in range(steps):
            label = batch.shifted(k + 2)
            b, t = (batch.supervised(k) & (weights > 0)).nonzero(as_tuple=True)
            hidden = out[b, t, k + 1].to(teacher.dtype)
            loss, rows, prediction = reference.forward_kl(
                hidden, teacher.head, every, b * width + t + k + 1, weights[b, t] * decay**k
            )
            total = total + loss
            found.append((rows, prediction == label[b, t]))
    if total.requires_grad:
        (total * scale).backward()  # type: ignore[no-untyped-call]
    return sums.of_steps(found)


def packed(
    draft: DFlashDraft,
    teacher: Teacher,
    samples: Sequence[Sample],
    steps: int,
    decay: float,
    scale: float,
) -> StepSums:
    """The same sums and gradients as :func:`plain`, computing only what a loss needs; all positions share one head."""
    if not any(s.roots for s in samples):
        return sums.nothing(steps)
    rows = Packed.of(samples, teacher.dtype, pinned=teacher.device.type == "cuda")
    anchors = Anchors.of(rows.spans, steps + 1, _MOST).to(teacher.device)
    rows = rows.to(teacher.device)
    # The target's row of each position: those with the same one side by side.
    row, order = anchors.answer.sort(stable=True)
    step = anchors.offset[order] - 1
    weight = anchors.weight[order] * decay ** step.float()
    with teacher.autocast():
        hidden = outputs(draft, teacher.embedding, rows, anchors)[order].to(teacher.dtype)
        total, loss, prediction = frozen.forward_kl(hidden, teacher.head, rows.last, teacher.soft_cap, row, weight)
    (total * scale).backward()  # type: ignore[no-untyped-call]
    return sums.of_rows(step, loss, prediction == rows.label[row], steps)
