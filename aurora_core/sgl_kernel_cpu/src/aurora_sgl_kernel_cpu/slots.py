"""Bookkeeping of KV slots: which slot of the KV pool has which token of which request.

All functions write into tensors that the caller made, as the compiled operators do.
"""

import ctypes

import torch
from torch import Tensor


def copy_all_layer_kv_cache_cpu(data_ptrs: Tensor, strides: Tensor, tgt_loc: Tensor, src_loc: Tensor) -> None:
    """Copy slot rows within every layer's KV buffer, as if all sources were read before any write.

    Args:
        data_ptrs: addresses of the buffers, uint64 [buffers].
        strides: bytes of one slot's row in each buffer, [buffers].
        tgt_loc: slots written, [n]. Where a slot is named twice the last row wins.
        src_loc: slots read, [n].
    """
    moves = [(t, s) for t, s in zip(tgt_loc.tolist(), src_loc.tolist(), strict=True) if t != s]
    if not moves:
        return
    for pointer, stride in zip(data_ptrs.tolist(), strides.tolist(), strict=True):
        rows = [ctypes.string_at(pointer + source * stride, stride) for _, source in moves]
        for (target, _), row in zip(moves, rows, strict=True):
            ctypes.memmove(pointer + target * stride, row, stride)


def assign_req_to_token_pool_cpu(
    req_pool_indices: Tensor, req_to_token: Tensor, start: Tensor, end: Tensor, out_cache_loc: Tensor, _pool_len: int
) -> None:
    """Write the new slots ``out_cache_loc`` into columns [start, end) of each request's row of ``req_to_token``."""
    offset = 0
    for row, first, last in zip(req_pool_indices.tolist(), start.tolist(), end.tolist(), strict=True):
        count = last - first
        req_to_token[row, first:last] = out_cache_loc[offset : offset + count].to(req_to_token.dtype)
        offset += count


def assign_extend_cache_locs_cpu(
    req_pool_indices: Tensor, req_to_token: Tensor, start: Tensor, end: Tensor, out_cache_loc: Tensor, _pool_len: int
) -> None:
    """Read columns [start, end) of each request's row of ``req_to_token`` into ``out_cache_loc``, packed."""
    offset = 0
    for row, first, last in zip(req_pool_indices.tolist(), start.tolist(), end.tolist(), strict=True):
        count = last - first
        out_cache_loc[offset : offset + count] = req_to_token[row, first:last].to(out_cache_loc.dtype)
        offset += count


def assign_draft_cache_locs_contiguous_cpu(
    req_pool_indices: Tensor,
    req_to_token: Tensor,
    seq_lens: Tensor,
    out_cache_loc: Tensor,
    _pool_len: int,
    topk: int,
    num_steps: int,
) -> None:
    """Read ``topk * num_steps`` slots from column ``seq_lens`` on, for each request, into ``out_cache_loc``."""
    count = topk * num_steps
    columns = seq_lens.long()[:, None] + torch.arange(count)
    out_cache_loc.copy_(req_to_token[req_pool_indices.long()[:, None], columns].reshape(-1))


def fill_bonus_tokens_cpu(accept_tokens: Tensor, accept_lens: Tensor, bonus_tokens: Tensor, stride: int) -> None:
    """The last accepted token of each request: ``accept_tokens`` [B * stride] at ``accept_lens - 1``."""
    batch = accept_lens.shape[0]
    last = torch.arange(batch) * stride + accept_lens.long() - 1
    bonus_tokens[:batch] = accept_tokens.reshape(-1)[last].to(bonus_tokens.dtype)


def fill_accept_out_cache_loc_cpu(accept_index: Tensor, out_cache_loc: Tensor, accept_out_cache_loc: Tensor) -> None:
    """Pack the slots of the accepted nodes; ``accept_index`` is -1 where nothing was accepted."""
    accepted = accept_index.reshape(-1)
    accepted = accepted[accepted > -1].long()
    accept_out_cache_loc[: accepted.numel()] = out_cache_loc[accepted]


def rotate_input_ids_cpu(
    input_ids: Tensor,
    start_loc: Tensor,
    seq_lens: Tensor,
    new_tokens: Tensor,
    select_index: Tensor | None = None,
) -> None:
    """Shift each request's tokens left by one and put its new token last, or at ``select_index`` where given."""
    fresh = new_tokens.reshape(-1)
    for i, (start, count) in enumerate(zip(start_loc.tolist(), seq_lens.tolist(), strict=True)):
        if count > 0:
            input_ids[start : start + count - 1] = input_ids[start + 1 : start + count].clone()
            last = start + count - 1 if select_index is None else int(select_index[i])
            input_ids[last] = fresh[i]


def build_draft_decode_metadata_cpu(
    req_to_token: Tensor, req_pool_indices: Tensor, seq_lens: Tensor, topk: int, num_steps: int, pool_len: int
) -> Tensor:
    """The slot table that each draft branch sees: the shared prefix, then the branch's own ``num_steps`` slots.

    Returns:
        [B * topk, pool_len], the dtype of ``req_to_token``; columns past a branch's slots are zero.
    """
    batch = seq_lens.shape[0]
    rows = req_to_token[req_pool_indices.long()]
    if topk == 1:
        return rows
    table = torch.zeros((batch, topk, pool_len), dtype=req_to_token.dtype)
    for b, length in enumerate(seq_lens.tolist()):
        table[b, :, :length] = rows[b, :length]
        branches = rows[b, length : length + topk * num_steps]
        table[b, :, length : length + num_steps] = branches.view(topk, num_steps)
    return table.view(batch * topk, pool_len)
