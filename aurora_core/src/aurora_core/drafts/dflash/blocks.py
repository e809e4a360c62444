"""The blocks of padded samples: what DFlash is, row by row, and the definition of what training computes.

A verify cycle that starts at row t knows token t + 1, the anchor of a block, and the target's states at rows 0 to t,
its context. Token j of the block stands for token t + 1 + j at that position; token 0 is the anchor, and the output at
each further one is a proposal. Letters in shapes: B samples, T rows of the longest, Q tokens of a block, D width, K
head width, H heads of queries.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from aurora_core.drafts.dflash.draft import DFlashDraft
from aurora_core.drafts.modules import rotate
from aurora_core.samples.batch import Batch


def _turned(draft: DFlashDraft, x: Tensor, positions: Tensor) -> Tensor:
    """Rotate [..., heads, K] by positions that its shape ends with before the heads."""
    cos, sin = draft.rope_tables(positions.flatten())
    shape = (*positions.shape, 1, x.shape[-1])
    return rotate(x, cos.view(shape).to(x.dtype), sin.view(shape).to(x.dtype))


def blocks(draft: DFlashDraft, embedding_VD: Tensor, batch: Batch, block_size: int) -> Tensor:
    """The block of every row.

    Args:
        draft: the draft.
        embedding_VD: the target's embedding.
        batch: the samples.
        block_size: tokens of a block.

    Returns:
        The draft's output after its final norm, [B, T, Q, D].
    """
    context = draft.context(batch.aux)
    rows = torch.arange(context.shape[1], device=context.device)
    positions = rows[:, None] + 1 + torch.arange(block_size, device=context.device)
    tokens = torch.full((*batch.shifted(1).shape, block_size), draft.config.mask_token_id, device=context.device)
    tokens[..., 0] = batch.shifted(1)
    stream = F.embedding(tokens, embedding_VD).to(context.dtype)
    hidden = rows[None] > rows[:, None]
    groups = draft.config.num_attention_heads // draft.config.num_key_value_heads
    for layer in draft.stack:
        attention, normed = layer.self_attn, layer.input_layernorm(stream)
        q = _turned(draft, attention.queries(normed), positions)
        (k, v), (ck, cv) = attention.keys_values(normed), attention.keys_values(context)
        k, ck = _turned(draft, k, positions), _turned(draft, ck, rows)
        k, v, ck, cv = (x.repeat_interleave(groups, -2) for x in (k, v, ck, cv))
        own = torch.einsum("btqhk,btrhk->bthqr", q, k)
        seen = torch.einsum("btqhk,bshk->bthqs", q, ck).masked_fill(hidden[:, None, None], -torch.inf)
        weights = (torch.cat((seen, own), -1).float() * q.shape[-1] ** -0.5).softmax(-1).to(q.dtype)
        of_context, of_block = weights.split((seen.shape[-1], block_size), -1)
        attended = torch.einsum("bthqs,bshk->btqhk", of_context, cv) + torch.einsum("bthqr,btrhk->btqhk", of_block, v)
        stream = layer.after(stream, attended.flatten(-2))
    out: Tensor = draft.norm(stream)
    return out
