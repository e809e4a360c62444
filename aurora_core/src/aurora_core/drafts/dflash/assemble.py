"""A DFlash draft of a checkpoint's tensors, its own or of those who published it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from aurora_core.drafts.dflash.config import DFlashConfig
from aurora_core.drafts.dflash.draft import DFlashDraft
from aurora_core.errors import ConfigError

_PREFIX = "model."
_ALIASES = {"encoder.fc.weight": "fc.weight", "encoder.output_norm_enc.weight": "hidden_norm.weight"}
"""Names that SGLang reads as others."""
_DERIVED = "rotary_emb.inv_freq"
_SHARED = ("embed_tokens.weight", "lm_head.weight")
"""Copies of the target's own that some publish, and SGLang leaves out."""


def _named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    short = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    if len(short) < len(tensors):
        message = "it has a tensor twice, under two names"
        raise ConfigError(message)
    ours = {_ALIASES.get(name, name): tensor for name, tensor in short.items()}
    return {name: t for name, t in ours.items() if name not in _SHARED and not name.endswith(_DERIVED)}


def assemble(config: DFlashConfig, tensors: Mapping[str, Tensor]) -> DFlashDraft:
    """Put tensors into a draft.

    Raises:
        ConfigError: some are missing, too many, or of other shapes than the configuration's.
    """
    given = _named(tensors)
    with torch.device("meta"):
        # Before memory is taken for what a configuration says.
        expected = DFlashDraft(config).state_dict()
    if lacking := [name for name in expected if name not in given]:
        raise ConfigError(f"it lacks {', '.join(lacking)}"[:500])
    if extra := [name for name in given if name not in expected]:
        raise ConfigError(f"it has tensors that DFlash does not: {', '.join(extra)}"[:500])
    for name, tensor in given.items():
        if tensor.shape != expected[name].shape:
            raise ConfigError(f"{name} is {list(tensor.shape)}, and config.json says {list(expected[name].shape)}")
        if not tensor.is_floating_point():
            raise ConfigError(f"{name} is {tensor.dtype}, not floating-point numbers")
    draft = DFlashDraft(config)
    draft.load_state_dict(given)
    return draft
