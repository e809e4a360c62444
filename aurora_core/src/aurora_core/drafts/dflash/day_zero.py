"""A new draft (day-0), as close to its target as its shape allows."""

import torch
from torch import Tensor

from aurora_core.drafts import borrow
from aurora_core.drafts.dflash.draft import DFlashDraft
from aurora_core.models.target import Target

_FAINT = 0.1
_MLP = ("gate_proj", "up_proj", "down_proj")
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_OF_HEADS = ("self_attn.q_norm", "self_attn.k_norm")


def mask_token(target: Target) -> int:
    """The token whose embedding a new draft reads as *not known yet*.

    Tokenizers give the last ids to rare tokens, or to none. A row of an embedding that nothing ever wrote to can be so
    small that a norm makes noise of it: the last one of ordinary size is taken.

    Raises:
        ConfigError: the target's embedding cannot be read.
    """
    sizes = target.embedding.float().norm(dim=-1)
    return int((sizes >= _FAINT * sizes.median()).nonzero()[-1])


def initialise(draft: DFlashDraft, target: Target, seed: int) -> None:
    """Give a draft its first weights.

    The context starts as the highest auxiliary layer's output with a little of the others; each layer as one of the
    target's last ones in their order, where it has such tensors; the final norm is the target's.

    Args:
        draft: the draft.
        target: the target.
        seed: of the random weights.

    Raises:
        ConfigError: the target's tensors cannot be read.
    """
    borrow.at_random(draft, seed)
    with torch.no_grad():
        width = draft.config.hidden_size
        draft.fc.weight.mul_(0.1)
        draft.fc.weight[:, -width:] += torch.eye(width)
        depth = len(draft.stack)
        borrow.norm(draft.norm.weight, target, "norm")
        borrow.norm(draft.hidden_norm.weight, target, f"layers.{target.num_layers - 1}.input_layernorm")
        for layer, number in zip(draft.stack, range(target.num_layers - depth, target.num_layers), strict=True):
            of_target, weights = f"layers.{number}", dict(layer.named_parameters())
            borrow.norm(layer.input_layernorm.weight, target, f"{of_target}.input_layernorm")
            for name in _OF_HEADS:
                borrow.norm(weights[f"{name}.weight"], target, f"{of_target}.{name}", of_heads=True)
            borrow.norm(layer.post_attention_layernorm.weight, target, f"{of_target}.{target.family.mlp_norm}")
            for part, names in (("mlp", _MLP), ("self_attn", _ATTENTION)):
                some: dict[str, Tensor] = {name: weights[f"{part}.{name}.weight"] for name in names}
                borrow.copied(target, f"{of_target}.{part}", some)
