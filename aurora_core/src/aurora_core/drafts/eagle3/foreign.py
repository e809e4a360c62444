"""Drafts that others published: what their configuration may have, what their tensors are called, what a map is."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from aurora_core.drafts.published import WITHOUT_MEANING, Only, integer, refuse, unsupported
from aurora_core.errors import ConfigError

_READ = frozenset(
    {
        "architectures", "hidden_size", "target_hidden_size", "intermediate_size", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "draft_vocab_size", "rms_norm_eps", "max_position_embeddings",
        "rope_parameters", "rope_scaling", "rope_theta", "eagle_config",
        "num_hidden_layers",
    }
)  # fmt: skip
_WINDOW = frozenset({"sliding_window"})
"""SGLang's Llama draft has no window: it attends to everything, whatever stands here."""


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


_ONLY: Only = {
    "hidden_act": lambda value: value == "silu",
    "rope_is_neox_style": lambda value: value is True,
    "partial_rotary_factor": lambda value: value == 1,
    "layer_types": lambda value: isinstance(value, list) and all(kind == "full_attention" for kind in value),
    "tie_word_embeddings": lambda value: value is False,
    **dict.fromkeys(("norm_before_fc", "fc_norm", "use_aux_norm", "norm_output"), _is_switch),
}
_EAGLE_ONLY: Only = {
    "use_aux_hidden_state": lambda value: value is True,
    "eagle_aux_hidden_state_layer_ids": lambda value: isinstance(value, list),
    "norm_before_fc": _is_switch,
    # NVIDIA's Model-Optimizer writes these, and SGLang has one value of each (modelopt/torch/export/plugins).
    "use_input_layernorm_in_first_layer": lambda value: value is True,
    "use_last_layernorm": lambda value: value is True,
    "use_mtp_layernorm": lambda value: value is False,
    "next_layer_regular": lambda value: value is True,
    "parallel_draft_step": lambda value: value == 1,
    # Layers of the heads of further parallel steps, of which there are then none.
    "parallel_draft_heads_num_layers": lambda value: isinstance(value, int),
}
_STATES = 3
"""Auxiliary hidden states where the configuration names no layers."""
_MOST_LAYERS = 16
_PREFIXES = ("model.", "draft_model.")
LAYER, LAYER_OF_LLAMA = "midlayer.", "layers.0."
_LATER = re.compile(r"(layers\.[1-9][0-9]*)\.input_layernorm\.weight")
_OLDER = {f"aux_norm_{name}.": f"fc_norm.{number}." for number, name in enumerate(("low", "mid", "high"))}
"""Names of the auxiliary states' norms before there was a list of them."""


def check_fields(raw: Mapping[str, Any]) -> None:
    """Refuse a configuration with anything that is not known to leave the arithmetic as it is here.

    Raises:
        ConfigError: names the fields and their values.
    """
    eagle = raw.get("eagle_config") or {}
    if not isinstance(eagle, Mapping):
        message = "eagle_config is no object"
        raise ConfigError(message)
    layers = eagle.get("eagle_aux_hidden_state_layer_ids")
    states = len(layers) if isinstance(layers, list) and layers else _STATES
    counted: Only = {"num_aux_hidden_states": lambda value: value == states}
    wrong = {name: raw[name] for name in unsupported(raw, {**_ONLY, **counted}, _READ | WITHOUT_MEANING | _WINDOW)}
    inner = unsupported(eagle, {**_EAGLE_ONLY, **counted}, frozenset())
    refuse(wrong | {f"eagle_config.{name}": eagle[name] for name in inner})


def depth(raw: Mapping[str, Any]) -> int:
    """The number of a draft's layers.

    Raises:
        ConfigError: it is none, or more than any draft has.
    """
    found = integer(raw, "num_hidden_layers", 1)
    if found > _MOST_LAYERS:
        message = f"num_hidden_layers is {found}: drafts of up to {_MOST_LAYERS} layers are supported"
        raise ConfigError(message)
    return found


def norms(raw: Mapping[str, Any]) -> dict[str, bool]:
    """The norms of EAGLE 3.1 that a configuration asks for, which SGLang 0.5.23 reads from here alone.

    Args:
        raw: that passed :func:`check_fields`.
    """
    eagle = raw.get("eagle_config") or {}
    return {
        "norm_before_fc": bool(eagle.get("norm_before_fc", raw.get("norm_before_fc"))),
        "fc_norm": bool(raw.get("fc_norm") or raw.get("use_aux_norm")),
        "norm_output": bool(raw.get("norm_output")),
    }


def has_head(names: Collection[str]) -> bool:
    """Whether a draft with tensors of these names has a head of its own."""
    return any(name.endswith("lm_head.weight") for name in names)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names that are used here: others call the layer layers.0, and put model. before everything.

    The norm before attention is ``input_layernorm`` in later layers of speculators, as in any layer of Llama's, and
    ``hidden_norm`` in SGLang, as in the first. Older drafts of EAGLE 3.1 call the norms of the three states
    ``aux_norm_low``, ``aux_norm_mid``, ``aux_norm_high``.

    Raises:
        ConfigError: two of them have the same name here.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = name
        for prefix in _PREFIXES:
            short = short.removeprefix(prefix)
        if short.startswith(LAYER_OF_LLAMA):
            short = LAYER + short.removeprefix(LAYER_OF_LLAMA)
        if found := _LATER.fullmatch(short):
            short = f"{found[1]}.hidden_norm.weight"
        for older, newer in _OLDER.items():
            if short.startswith(older):
                short = newer + short.removeprefix(older)
        if short in out:
            raise ConfigError(f"it has a tensor twice, under two names: {short}")
        out[short] = tensor
    return out


def check_maps(tensors: Mapping[str, Tensor], vocab_size: int) -> None:
    """Whether d2t (offsets of draft tokens to the target's) and t2d (which of the target's are proposed) are maps.

    Raises:
        ConfigError: not integers, out of range, not ascending, or two that disagree.
    """
    d2t, t2d = tensors.get("d2t"), tensors.get("t2d")
    if d2t is None:
        if t2d is not None and not bool(t2d.to(torch.bool).all()):
            raise ConfigError("it lacks d2t, and t2d leaves out tokens: which row proposes which token is not stated")
        return
    if d2t.is_floating_point() or d2t.is_complex() or d2t.dtype == torch.bool or d2t.dim() != 1:
        message = f"d2t is {d2t.dtype} of shape {list(d2t.shape)}, not a row of integers"
        raise ConfigError(message)
    ids = d2t.to(torch.int64) + torch.arange(d2t.numel(), device=d2t.device)
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= vocab_size):
        message = (
            f"d2t leads to tokens {int(ids.min())} to {int(ids.max())} of a vocabulary of {vocab_size}: it must hold "
            "offsets, a draft token's number less than the target's"
        )
        raise ConfigError(message)
    if bool((ids.diff() <= 0).any()):
        message = "d2t does not lead to ascending tokens of the target, each once"
        raise ConfigError(message)
    if t2d is not None and t2d.numel():
        proposed = t2d.to(torch.bool).nonzero().flatten()
        if t2d.numel() != vocab_size or not torch.equal(proposed, ids):
            message = "t2d and d2t name different tokens"
            raise ConfigError(message)
