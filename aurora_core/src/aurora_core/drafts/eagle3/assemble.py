"""An EAGLE3 draft of a checkpoint's tensors, its own or of those who published it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from aurora_core.drafts.eagle3 import foreign
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.errors import ConfigError

_MAPS = ("d2t", "t2d")


def _check_shapes(config: Eagle3Config, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a configuration that is not its tensors', before memory is taken for what it says.

    Raises:
        ConfigError: a tensor has another shape, or no numbers, or is missing.
    """
    with torch.device("meta"):
        expected = Eagle3Draft(config).state_dict()
    for name, tensor in tensors.items():
        if name in expected and tensor.shape != expected[name].shape:
            raise ConfigError(f"{name} is {list(tensor.shape)}, and config.json says {list(expected[name].shape)}")
        if name in expected and name not in _MAPS and not tensor.is_floating_point():
            raise ConfigError(f"{name} is {tensor.dtype}, not floating-point numbers")
    lacking = [name for name in expected if name not in tensors and name not in _MAPS]
    # A draft over the target's full vocabulary carries no maps; with the target's head it needs none.
    if "d2t" not in tensors and config.draft_vocab_size != config.vocab_size:
        lacking.append("d2t")
    if lacking:
        full = "; a head that is shared with the target has the target's full vocabulary"
        head = full if "lm_head.weight" in lacking else ""
        raise ConfigError(f"it lacks {', '.join(lacking)}{head}")


def assemble(config: Eagle3Config, tensors: Mapping[str, Tensor]) -> Eagle3Draft:
    """Put tensors into a draft.

    Raises:
        ConfigError: some are missing or too many, or the maps are none.
    """
    tensors = foreign.renamed(tensors)
    foreign.check_maps(tensors, config.vocab_size)
    _check_shapes(config, tensors)
    draft = Eagle3Draft(config)
    missing, unexpected = draft.load_state_dict(tensors, strict=False)
    left = ("embed_tokens", *_MAPS) if config.shared_head else ("embed_tokens",)
    extra = [name for name in unexpected if not name.startswith(left)]
    if extra:
        raise ConfigError(f"it has tensors that EAGLE3 does not: {', '.join(extra)}")
    if config.shared_head and "d2t" in tensors and tensors["d2t"].numel() != config.vocab_size:
        raise ConfigError(f"it has no head, and d2t of {tensors['d2t'].numel()} tokens of {config.vocab_size}")
    if "d2t" in missing or "t2d" in missing:
        draft.set_vocabulary(torch.arange(config.vocab_size) if "d2t" in missing else draft.ids.clone())
    return draft
