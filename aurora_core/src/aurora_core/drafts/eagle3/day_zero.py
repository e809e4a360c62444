"""A new draft (day-0), as close to its target as its shape allows."""

import torch
from torch import Tensor

from aurora_core.drafts import borrow
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.models.target import Target


def initialise(draft: Eagle3Draft, target: Target, ids: Tensor, seed: int) -> None:
    """Give a draft its first weights.

    The stream starts as the highest auxiliary layer's, the layer as the target's last one with the embedding mixed in
    at random, and norm and head are the target's. Where the target has no such tensors (a mixture of experts has no
    single MLP), or has them quantised in a way that is not read here, what is left stays random.

    Args:
        draft: the draft.
        target: the target; its head must be as wide as the draft.
        ids: ascending target ids of the draft's vocabulary, [V].
        seed: of the random weights.

    Raises:
        ConfigError: the target's head or final norm cannot be read.
    """
    borrow.at_random(draft, seed)
    with torch.no_grad():
        draft.lm_head.weight.copy_(target.head_rows(ids))
        _borrow(draft, target)
        draft.set_vocabulary(ids)


def _borrow(draft: Eagle3Draft, target: Target) -> None:
    width, layer = draft.config.hidden_size, draft.midlayer
    if draft.config.target_hidden_size == width:
        draft.fc.weight.mul_(0.1)
        draft.fc.weight[:, -width:] += torch.eye(width)
    last = f"layers.{target.num_layers - 1}"
    norms = {
        "norm": draft.norm,
        f"{last}.{target.family.mlp_norm}": layer.post_attention_layernorm,
        f"{last}.input_layernorm": layer.hidden_norm,
    }
    for name, norm in norms.items():
        borrow.norm(norm.weight, target, name)
    borrow.copied(
        target, f"{last}.mlp", {name: getattr(layer.mlp, name).weight for name in ("gate_proj", "up_proj", "down_proj")}
    )
    attention = layer.self_attn
    halves = {name: getattr(attention, name).weight[:, width:] for name in ("q_proj", "k_proj", "v_proj")}
    if borrow.copied(target, f"{last}.self_attn", {**halves, "o_proj": attention.o_proj.weight}):
        for name in halves:
            getattr(attention, name).weight[:, :width].mul_(0.3)
