"""First weights of a new draft: its target's where they fit, and random ones."""

import logging

import torch
from torch import Tensor, nn

from aurora_core.errors import ConfigError
from aurora_core.models.target import Target

log = logging.getLogger(__name__)


def at_random(draft: nn.Module, seed: int) -> None:
    """Random matrices; those that add to the residual stream are small, so that a layer begins as next to nothing."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in draft.named_parameters():
        if parameter.ndim > 1:
            scale = 0.01 if name.endswith(("o_proj.weight", "down_proj.weight")) else parameter.shape[1] ** -0.5
            nn.init.normal_(parameter, std=scale * 0.6, generator=generator)


def norm(weight: Tensor, target: Target, name: str, *, of_heads: bool = False) -> None:
    """Copy a norm's weight where the target has it.

    Args:
        weight: of the draft.
        target: the target.
        name: of its norm, in the text model.
        of_heads: whether it is a norm of queries or keys, which not all targets have in the same width.

    Raises:
        ConfigError: a norm of the target's own width has another one.
    """
    found = target.norm_weight(name)
    if found is None:
        if not of_heads:
            log.warning("the new draft's %s starts as 1: %s has none", name, target.path)
    elif found.shape == weight.shape:
        weight.copy_(found)
    elif not of_heads:
        raise ConfigError(f"{target.path}: {name}.weight is {list(found.shape)}, and must be {list(weight.shape)}")


def copied(target: Target, part: str, weights: dict[str, Tensor]) -> bool:
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
