"""The blocks of :mod:`aurora_core.drafts.dflash.blocks`, computing only what is read.

The reference runs every row of padded samples. Here the target's rows give each layer's keys and values once; blocks
begin at anchors alone; the first layer projects one mask token and not one for each position; the last layer runs
over the positions that are read; queries of a group share their keys without copies; and no matrix product has a padded
row. Attention runs over some anchors at a time, whose blocks lie side by side behind the rows before them. The test
requires the same outputs and gradients of both.

Letters in shapes: N committed rows, A anchors, Q tokens of a block, M positions that are read, D width, K head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from aurora_core.drafts.dflash.anchors import Anchors
from aurora_core.drafts.dflash.draft import DFlashDraft
from aurora_core.drafts.modules import rotate
from aurora_core.samples.packed import Packed

_TOGETHER = 128
"""Tokens of blocks that attend together: each sees the others' keys, and does not count them."""

_KeysValues = tuple[Tensor, Tensor]


def _turned(draft: DFlashDraft, x: Tensor, position: Tensor) -> Tensor:
    cos, sin = draft.rope_tables(position)
    return rotate(x, cos.to(x.dtype), sin.to(x.dtype))


def _attend(
    q: Tensor, q_anchor: Tensor, ends: tuple[int, ...], context: _KeysValues, own: _KeysValues, anchors: Anchors
) -> Tensor:
    """Attention of tokens of blocks over their samples' rows and their own blocks.

    Args:
        q: [tokens, heads, K], in the anchors' order.
        q_anchor: int64 [tokens].
        ends: of each anchor, how many of those tokens there are up to its last one.
        context: keys and values of the target's rows, [N, kv heads, K].
        own: of the blocks, [A * Q, kv heads, K].
        anchors: whose blocks these are.

    Returns:
        [tokens, heads * K].
    """
    (ck, cv), (k, v), size = context, own, anchors.block_size
    kv_heads, width = ck.shape[1:]
    seen_by = torch.tensor(anchors.seen, device=q.device)[q_anchor]
    at_once, out = max(1, _TOGETHER // size), []
    for first_row, _, first, count in anchors.spans:
        for a in range(first, first + count, at_once):
            b = min(first + count, a + at_once)
            some = slice(ends[a - 1] if a else 0, ends[b - 1])
            rows = slice(first_row, first_row + anchors.seen[b - 1])
            keys = torch.cat((ck[rows], k[a * size : b * size])).transpose(0, 1)
            values = torch.cat((cv[rows], v[a * size : b * size])).transpose(0, 1)
            before = torch.arange(anchors.seen[b - 1], device=q.device)[None] < seen_by[some, None]
            block = torch.arange(a, b, device=q.device).repeat_interleave(size)[None] == q_anchor[some, None]
            mask = torch.cat((before, block), 1)
            grouped = q[some].view(-1, kv_heads, q.shape[1] // kv_heads, width).permute(1, 2, 0, 3)
            groups = grouped.shape[1]
            attended = F.scaled_dot_product_attention(
                grouped.flatten(1, 2)[None], keys[None], values[None], attn_mask=mask.repeat(groups, 1)
            )
            out.append(attended[0].view_as(grouped).permute(2, 0, 1, 3).reshape(-1, kv_heads * groups * width))
    return torch.cat(out)


def outputs(draft: DFlashDraft, embedding_VD: Tensor, rows: Packed, anchors: Anchors) -> Tensor:
    """Run the blocks.

    Args:
        draft: the draft.
        embedding_VD: the target's embedding.
        rows: the samples.
        anchors: the blocks.

    Returns:
        The draft's output after its final norm at the positions that are read, [M, D].
    """
    size, count, device = anchors.block_size, anchors.root.numel(), rows.aux.device
    context = draft.context(rows.aux)
    start = rows.root_row[anchors.root]
    mask = torch.full((1,), draft.config.mask_token_id, device=device)
    embedded = F.embedding(torch.cat((rows.next_token[start], mask)), embedding_VD).to(context.dtype)
    # Of the embedded tokens, the anchors and one mask, which one stands at each position.
    which = torch.full((count, size), count, device=device)
    which[:, 0] = torch.arange(count, device=device)
    which = which.flatten()
    position = (rows.position[start][:, None] + 1 + torch.arange(size, device=device)).flatten()
    read = anchors.anchor * size + anchors.offset
    every = torch.arange(count, device=device).repeat_interleave(size)
    every_end = tuple(range(size, count * size + 1, size))
    stream, source = embedded[which], embedded
    for number, layer in enumerate(draft.stack):
        attention, normed = layer.self_attn, layer.input_layernorm(source)
        k, v = attention.keys_values(normed)
        ck, cv = attention.keys_values(context)
        if number == 0:
            # Positions with the same token have the same projections.
            k, v, asked = k[which], v[which], which
        else:
            asked = torch.arange(count * size, device=device)
        k, ck = _turned(draft, k, position), _turned(draft, ck, rows.position)
        q_position, whose, ends = position, every, every_end
        if number == len(draft.stack) - 1:
            asked, stream, q_position = asked[read], stream[read], position[read]
            whose, ends = anchors.anchor, anchors.ends
        q = attention.queries(normed)[asked] if number == 0 else attention.queries(normed[asked])
        attended = _attend(_turned(draft, q, q_position), whose, ends, (ck, cv), (k, v), anchors)
        stream = source = layer.after(stream, attended)
    out: Tensor = draft.norm(stream)
    return out
