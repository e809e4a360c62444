"""Attention over a paged KV pool, one request at a time, on PyTorch's own kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor

_FEW_ROWS = 16
"""New tokens of a request in decoding and in verification; prompts have more, and keep their heads apart."""


def _unsupported(logit_cap: float, k_scale: float, v_scale: float) -> None:
    if logit_cap or k_scale != 1.0 or v_scale != 1.0:
        message = (
            "this CPU build of SGLang's attention has no logit cap and no scaled KV "
            f"(got logit_cap={logit_cap}, k_scale={k_scale}, v_scale={v_scale}): install sglang-kernel for this CPU, "
            "or serve another model"
        )
        raise NotImplementedError(message)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None, sinks: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention of one request.

    Args:
        q: [n, H, D].
        k, v: [L, HK, D].
        scale: factor on the logits.
        mask: bool [n, L], True where visible, or None where everything is.
        sinks: [H], a logit of each head that takes part in the softmax and has no value.

    Returns:
        [n, H, D].
    """
    if sinks is not None:
        return _attend_with_sinks(q, k, v, scale, mask, sinks)
    (rows, heads, width), shared = q.shape, k.shape[1]
    groups = heads // shared if rows <= _FEW_ROWS else 1
    if groups > 1:
        # Heads that share keys become rows of one head: in bf16 torch is slow at products of a single row.
        q = q.view(rows, shared, groups, width).transpose(1, 2).reshape(rows * groups, shared, width)
        mask = None if mask is None else mask.repeat_interleave(groups, 0)
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1)[None],
        k.transpose(0, 1)[None],
        v.transpose(0, 1)[None],
        attn_mask=mask,
        scale=scale,
        enable_gqa=q.shape[1] != shared,
    )[0].transpose(0, 1)
    return out if groups == 1 else out.reshape(rows, groups, shared, -1).transpose(1, 2).reshape(rows, heads, -1)


def _attend_with_sinks(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None, sinks: Tensor) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    logits = torch.einsum("nhd,lhd->hnl", q.float(), k.float()) * scale
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    sink = sinks.float()[:, None, None].expand(-1, q.shape[0], 1)
    weights = torch.cat([logits, sink], -1).softmax(-1)[..., :-1]
    return torch.einsum("hnl,lhd->nhd", weights, v.float()).to(q.dtype)


def _visible(length: int, new: int, block: Tensor | None, window: int, *, is_causal: bool) -> Tensor | None:
    """What each new token sees of its request; None where that is everything.

    Args:
        length, new: tokens in all, and new ones.
        block: bool [new, new] of a token tree, or None for a chain.
        window: how many tokens back it sees, itself included; 0 where all.

    Returns:
        bool [new, length].
    """
    if block is None and not window and not (is_causal and new > 1):
        return None
    before = length - new
    if block is None:
        block = torch.ones((new, new), dtype=torch.bool)
        block = block.tril() if is_causal else block
    seen = torch.cat([torch.ones((new, before), dtype=torch.bool), block], dim=1)
    if window > 0:
        # A node's position is its depth: siblings of a tree have the same one.
        own = before + block.sum(1) - 1
        positions = torch.cat([torch.arange(before), own])
        seen &= positions[None] > own[:, None] - window
    return seen


def extend_attention_cpu(
    q: Tensor,
    _k: Tensor | None,
    _v: Tensor | None,
    out: Tensor,
    k_buffer: Tensor,
    v_buffer: Tensor,
    k_scale: float,
    v_scale: float,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    extend_lens: Tensor,
    extend_start: Tensor,
    _max_extend: int,
    scale: float,
    logit_cap: float,
    _is_cross: bool,
    sliding_window: int,
    _encoder_lens: Tensor | None,
    sinks: Tensor | None,
    tree_mask: Tensor | None,
    is_causal: bool,
) -> None:
    """Attention of new tokens over their request's prefix and themselves.

    Args:
        q, out: [tokens, H, D]; ``out`` is written.
        k_buffer, v_buffer: the pool, [slots, HK, D]; the new tokens' rows are already in it.
        req_to_token: [requests, pool length], the slot of each token.
        seq_lens, extend_lens, extend_start: [B], tokens in all, new tokens, and where these begin in ``q``.
        sliding_window: how many tokens back each sees, itself included; 0 where all.
        sinks: [H], see :func:`_attend`.
        tree_mask: flat bool of n x n blocks over the new tokens (QLEN_ONLY), or None for a causal chain.
    """
    _unsupported(logit_cap, k_scale, v_scale)
    offset = 0
    spans = zip(req_pool_indices.tolist(), seq_lens.tolist(), extend_lens.tolist(), extend_start.tolist(), strict=True)
    for row, length, new, start in spans:
        slots = req_to_token[row, :length]
        block = None
        if tree_mask is not None:
            block = tree_mask.view(-1)[offset : offset + new * new].view(new, new).bool()
            offset += new * new
        mask = _visible(length, new, block, sliding_window, is_causal=is_causal)
        keys, values = k_buffer.index_select(0, slots), v_buffer.index_select(0, slots)
        out[start : start + new] = _attend(q[start : start + new], keys, values, scale, mask, sinks)


def decode_attention_cpu(
    q: Tensor,
    k_buffer: Tensor,
    v_buffer: Tensor,
    k_scale: float,
    v_scale: float,
    out: Tensor,
    k: Tensor | None,
    v: Tensor | None,
    cache_loc: Tensor | None,
    _attn_logits: Tensor,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    scale: float,
    logit_cap: float,
    _is_cross: bool,
    sliding_window: int,
    _encoder_lens: Tensor | None,
    sinks: Tensor | None,
) -> None:
    """Attention of one new token a request; writes the token's own key and value into the pool first.

    Args:
        q, out: [B, H, D]; ``out`` is written.
        k, v, cache_loc: the new tokens' keys and values, [B, HK, D], and their slots, or None if stored already.
        others: as in :func:`extend_attention_cpu`.
    """
    _unsupported(logit_cap, k_scale, v_scale)
    if k is not None and v is not None and cache_loc is not None:
        k_buffer[cache_loc] = k.view(-1, *k_buffer.shape[1:]).to(k_buffer.dtype)
        v_buffer[cache_loc] = v.view(-1, *v_buffer.shape[1:]).to(v_buffer.dtype)
    for b, (row, length) in enumerate(zip(req_pool_indices.tolist(), seq_lens.tolist(), strict=True)):
        # What is before the window may be of another request by now.
        slots = req_to_token[row, max(0, length - sliding_window) if sliding_window > 0 else 0 : length]
        keys, values = k_buffer.index_select(0, slots), v_buffer.index_select(0, slots)
        out[b : b + 1] = _attend(q[b : b + 1], keys, values, scale, None, sinks)
