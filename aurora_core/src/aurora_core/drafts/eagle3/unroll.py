"""The draft's chain, unrolled at every row at once: what serving does, one verify cycle after the other.

At step 0 the draft reads the target's states at row t and the embedding of token t + 1. At step k it reads its own
output of step k - 1 and the embedding of token t + 1 + k, which is the token that it should have proposed: a chain
only continues where it was right, so nothing else needs to be learned (training-time test, Li et al. 2025).

Attention is as in serving. Committed positions hold keys and values of step 0; a chain that starts at row t sees
those up to t, and of steps 1..k only its own. Positions continue along the chain. So it is in each layer.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.samples.batch import Batch


def _expand(x_BKTD: Tensor, groups: int) -> Tensor:
    return x_BKTD if groups == 1 else x_BKTD.repeat_interleave(groups, dim=1)


def _attend(q: Tensor, keys: list[Tensor], values: list[Tensor], visible_BTT: Tensor) -> Tensor:
    """Attention of a step over the committed rows and over its own chain.

    Args:
        q: [B, heads, T, K].
        keys, values: per step so far, [B, heads, T, K]; the first is the committed rows'.
        visible_BTT: bool [B, T, T], committed rows that each row sees.

    Returns:
        [B, heads, T, K].
    """
    scale = q.shape[-1] ** -0.5
    if len(keys) == 1:
        return F.scaled_dot_product_attention(q, keys[0], values[0], attn_mask=visible_BTT[:, None])
    committed = (q @ keys[0].transpose(-1, -2)).float() * scale
    committed = committed.masked_fill(~visible_BTT[:, None], -torch.inf)
    own = [(q * k).sum(-1, keepdim=True).float() * scale for k in keys[1:]]
    weights = torch.cat([committed, *own], dim=-1).softmax(-1).to(q.dtype)
    width = keys[0].shape[2]
    out = weights[..., :width] @ values[0]
    for i, value in enumerate(values[1:]):
        out = out + weights[..., width + i, None] * value
    return out


def unroll(draft: Eagle3Draft, embedding_VD: Tensor, batch: Batch, steps: int) -> Iterator[Tensor]:
    """Run the chain.

    Args:
        draft: the draft.
        embedding_VD: the target's embedding, which the draft shares.
        batch: the samples.
        steps: length of the chain.

    Yields:
        For each step the draft's output after its final norm, [B, T, D]: times the head it is the distribution of
        token t + 2 + step at row t.
    """
    rows = batch.aux.shape[1]
    groups = draft.config.num_attention_heads // draft.config.num_key_value_heads
    t = torch.arange(rows, device=batch.rows.device)
    visible = (t[None, :, None] >= t[None, None, :]) & (t[None, None, :] < batch.rows[:, None, None])
    visible = visible | (t[None, :, None] == t[None, None, :])
    hidden = draft.stream(batch.aux)
    keys: list[list[Tensor]] = [[] for _ in draft.stack]
    values: list[list[Tensor]] = [[] for _ in draft.stack]
    for step in range(steps):
        embeds = F.embedding(batch.shifted(step + 1), embedding_VD).to(hidden.dtype)
        cos, sin = draft.rope_tables((t + step)[None])
        for layer, its_keys, its_values in zip(draft.stack, keys, values, strict=True):
            q, k, v = draft.qkv(layer, embeds, hidden, cos, sin)
            its_keys.append(_expand(k, groups))
            its_values.append(_expand(v, groups))
            attended = _attend(q, its_keys, its_values, visible)
            hidden = layer.finish(hidden, attended.transpose(1, 2).flatten(-2))
        out: Tensor = draft.norm(hidden)
        yield out
        hidden = draft.handed_on(hidden, out)
