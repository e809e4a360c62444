"""Stands in for the compiled ``sgl_kernel`` where none is installed (see aurora_sgl_kernel_cpu)."""

import torch
from aurora_sgl_kernel_cpu.attention import decode_attention_cpu, extend_attention_cpu
from aurora_sgl_kernel_cpu.slots import (
    assign_draft_cache_locs_contiguous_cpu,
    assign_extend_cache_locs_cpu,
    assign_req_to_token_pool_cpu,
    build_draft_decode_metadata_cpu,
    copy_all_layer_kv_cache_cpu,
    fill_accept_out_cache_loc_cpu,
    fill_bonus_tokens_cpu,
    rotate_input_ids_cpu,
)
from aurora_sgl_kernel_cpu.tree import build_tree_kernel_efficient_cpu, verify_tree_greedy_cpu

__version__ = "0.4.10"
"""The version of sglang-kernel whose operators these follow."""

__all__ = [
    "assign_draft_cache_locs_contiguous_cpu",
    "assign_extend_cache_locs_cpu",
    "assign_req_to_token_pool_cpu",
    "build_draft_decode_metadata_cpu",
    "build_tree_kernel_efficient_cpu",
    "copy_all_layer_kv_cache_cpu",
    "fill_accept_out_cache_loc_cpu",
    "fill_bonus_tokens_cpu",
    "rotate_input_ids_cpu",
    "verify_tree_greedy_cpu",
]

# SGLang's CPU attention backend takes these two from torch.ops and not from the module.
setattr(torch.ops.sgl_kernel, "extend_attention_cpu", extend_attention_cpu)  # noqa: B010 (a namespace without types)
setattr(torch.ops.sgl_kernel, "decode_attention_cpu", decode_attention_cpu)  # noqa: B010
