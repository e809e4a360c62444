"""Drafts that others published: what of their configuration may be there, what their tensors are called, what a map is.

A key of config.json that is not known here may change the draft's arithmetic, and a draft that computes something else
than its authors trained is worse than none. So keys are allowed, not forbidden: one without meaning for EAGLE3 passes,
one with a single supported value passes with it, and any other that is set is refused by name.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from aurora_core.errors import ConfigError

_READ = frozenset(
    {
        "architectures", "hidden_size", "target_hidden_size", "intermediate_size", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "draft_vocab_size", "rms_norm_eps", "max_position_embeddings",
        "rope_parameters", "rope_scaling", "rope_theta", "eagle_config",
    }
)  # fmt: skip
_WITHOUT_MEANING = frozenset(
    {
        "model_type", "target_model_type", "torch_dtype", "dtype", "transformers_version", "_name_or_path",
        "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range", "use_cache", "pretraining_tp",
        "attention_dropout", "max_window_layers", "decoder_sparse_step", "auto_map", "id2label", "label2id",
        "return_dict", "_attn_implementation", "original_max_position_embeddings",
        # SGLang's Llama draft has no window: it attends to everything, whatever stands here.
        "sliding_window",
    }
)  # fmt: skip
_Only = Mapping[str, Callable[[Any], bool]]
"""Whether a key's value is the one that is supported."""
_ONLY: _Only = {
    "hidden_act": lambda value: value == "silu",
    "num_hidden_layers": lambda value: value == 1,
    "rope_is_neox_style": lambda value: value is True,
    "partial_rotary_factor": lambda value: value == 1,
    "layer_types": lambda value: value == ["full_attention"],
    "tie_word_embeddings": lambda value: value is False,
}
_EAGLE_ONLY: _Only = {
    "use_aux_hidden_state": lambda value: value is True,
    "eagle_aux_hidden_state_layer_ids": lambda value: isinstance(value, list),
}
_STATES = 3
"""Auxiliary hidden states where the configuration names no layers."""
ROPES = frozenset({"default", "linear", "llama3", "yarn"})
"""Rope types whose tables are the same here and in SGLang."""
_PREFIXES = ("model.", "draft_model.")
LAYER, LAYER_OF_LLAMA = "midlayer.", "layers.0."


def _set(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def _wrong(values: Mapping[str, Any], only: _Only, neutral: frozenset[str]) -> list[str]:
    """Keys that are set to what may change the arithmetic; null is as if a key were not there."""
    return [
        name
        for name, value in values.items()
        if (value is not None and not only[name](value) if name in only else name not in neutral and _set(value))
    ]


def check_keys(raw: Mapping[str, Any]) -> None:
    """Refuse a configuration with anything that is not known to leave the arithmetic as it is here.

    Raises:
        ConfigError: names the keys and their values.
    """
    eagle = raw.get("eagle_config") or {}
    if not isinstance(eagle, Mapping):
        message = "eagle_config is no object"
        raise ConfigError(message)
    layers = eagle.get("eagle_aux_hidden_state_layer_ids")
    states = len(layers) if isinstance(layers, list) and layers else _STATES
    counted: _Only = {"num_aux_hidden_states": lambda value: value == states}
    wrong = {name: raw[name] for name in _wrong(raw, {**_ONLY, **counted}, _READ | _WITHOUT_MEANING)}
    inner = _wrong(eagle, {**_EAGLE_ONLY, **counted}, frozenset())
    wrong |= {f"eagle_config.{name}": eagle[name] for name in inner}
    if wrong:
        shown = ", ".join(f"{path} {value!r:.60}" for path, value in sorted(wrong.items()))
        message = f"a draft with {shown} computes something else than is supported here"
        raise ConfigError(message)


def whole(raw: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A positive whole number of a configuration; null is as if it were not there.

    Raises:
        ConfigError: it is missing, or no such number.
    """
    value = raw.get(name)
    if value is None:
        value = default
    if value is None or isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        message = f"{name} is {value!r:.60}, not a positive whole number"
        raise ConfigError(message)
    return value


def real(raw: Mapping[str, Any], name: str, default: float) -> float:
    """A positive number of a configuration; null is as if it were not there.

    Raises:
        ConfigError: it is no such number.
    """
    value = raw.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        message = f"{name} is {value!r:.60}, not a positive number"
        raise ConfigError(message)
    return float(value)


def rope(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The rope's parameters, from either of the two forms that transformers has had.

    Raises:
        ConfigError: a type whose tables differ between training and SGLang.
    """
    found = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(found, Mapping):
        message = "rope_parameters is no object"
        raise ConfigError(message)
    found = {name: value for name, value in found.items() if name not in {"type", "mrope_section"}} | {
        "rope_type": found.get("rope_type") or found.get("type") or "default"
    }
    if found["rope_type"] == "mrope":
        # The sections are those of images; a draft's positions are of text.
        found["rope_type"] = "default"
    if found["rope_type"] not in ROPES:
        message = f"rope of type {found['rope_type']!r:.60}; supported are {', '.join(sorted(ROPES))}"
        raise ConfigError(message)
    if found.get("partial_rotary_factor") not in {None, 1}:
        message = f"a draft with partial_rotary_factor {found['partial_rotary_factor']!r:.60}: only 1 is supported"
        raise ConfigError(message)
    return {"rope_theta": real(raw, "rope_theta", 10000.0), **found}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names that are used here: others call the layer layers.0, and put model. before everything."""
    out = {}
    for name, tensor in tensors.items():
        short = name
        for prefix in _PREFIXES:
            short = short.removeprefix(prefix)
        if short.startswith(LAYER_OF_LLAMA):
            short = LAYER + short.removeprefix(LAYER_OF_LLAMA)
        out[short] = tensor
    return out


def check_maps(tensors: Mapping[str, Tensor], vocab_size: int) -> None:
    """Whether d2t (offsets of draft tokens to the target's) and t2d (which of the target's are proposed) are maps.

    Raises:
        ConfigError: not whole numbers, out of range, not ascending, or two that disagree.
    """
    d2t, t2d = tensors.get("d2t"), tensors.get("t2d")
    if d2t is None:
        return
    if d2t.is_floating_point() or d2t.is_complex() or d2t.dtype == torch.bool or d2t.dim() != 1:
        message = f"d2t holds {d2t.dtype} of shape {list(d2t.shape)}, not a row of whole numbers"
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
