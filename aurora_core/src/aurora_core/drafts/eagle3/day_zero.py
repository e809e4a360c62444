"""A new draft (day-0), as close to its target as its shape allows."""

import logging

import torch
from torch import Tensor, nn

from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target

log = logging.getLogger(__name__)


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
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in draft.named_parameters():
        if parameter.ndim > 1:
            scale = 0.01 if name.endswith(("o_proj.weight", "down_proj.weight")) else parameter.shape[1] ** -0.5
            nn.init.normal_(parameter, std=scale * 0.6, generator=generator)
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
        weight = target.norm_weight(name)
        if weight is not None and weight.shape == norm.weight.shape:
            norm.weight.copy_(weight)
    _copy(
        target, f"{last}.mlp", {name: getattr(layer.mlp, name).weight for name in ("gate_proj", "up_proj", "down_proj")}
    )
    attention = layer.self_attn
    halves = {name: getattr(attention, name).weight[:, width:] for name in ("q_proj", "k_proj", "v_proj")}
    if _copy(target, f"{last}.self_attn", {**halves, "o_proj": attention.o_proj.weight}):
        for name in halves:
            getattr(attention, name).weight[:, :width].mul_(0.3)


def _copy(target: Target, part: str, weights: dict[str, Tensor]) -> bool:
    """Copy a layer's part where all of it fits; a half of it computes nothing that the target does."""
    try:
        sources = {name: target.tensor(f"{part}.{name}.weight") for name in weights}
    except ConfigError as error:
        log.warning("the new draft's %s starts at random: %s", part.partition(".")[2], error)
        return False
    found = {name: source for name, source in sources.items() if source is not None}
    if len(found) < len(weights) or any(source.shape != weights[name].shape for name, source in found.items()):
        return False
    for name, source in found.items():
        weights[name].copy_(source)
    return True
