"""DFlash in the engine: what SGLang is started with, and what a swap copies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aurora_core.config.parts import DraftConfig
from aurora_core.drafts.family import Launch
from aurora_core.drafts.loading import load_parameters


def launch(config: DraftConfig, folder: Path) -> Launch:
    """The block, which SGLang counts in tokens that it verifies: the last one that is known, and the proposals.

    SGLang 0.5.23 has no adaptive speculation for DFlash, so that an engine drafts as long as it runs.
    """
    del folder  # there are no files
    return Launch(("--speculative-num-draft-tokens", str(config.num_draft_tokens)))


def load(draft_worker: Any, tensors: Mapping[str, Tensor]) -> None:
    """Load weights, and what SGLang's fused writer of the target's rows keeps a copy of: their projections and norms.

    The copies are written in place, in the layout that SGLang 0.5.23's ``FusedKVMaterializeHelper`` gives them.
    """
    load_parameters(draft_worker, tensors)
    helper = getattr(draft_worker, "_fused_kv_helper", None)
    if helper is None:
        return
    attentions = [layer.self_attn for layer in draft_worker.draft_model.layers]
    with torch.no_grad():
        keys_values = [one.qkv_proj.weight[one.q_size : one.q_size + 2 * one.kv_size] for one in attentions]
        helper.flat_kv_weight_t.copy_(torch.cat(keys_values).t())
        helper.k_norm_weights.copy_(torch.stack([one.k_norm.weight for one in attentions]))
