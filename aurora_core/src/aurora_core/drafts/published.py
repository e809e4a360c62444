"""What drafts of others may say of themselves, whatever their family: numbers, rope, and fields without meaning.

A field of config.json that is not known here may change the draft's arithmetic, and a draft that computes something
else than its authors trained is worse than none. So fields are allowed, not forbidden: one without meaning passes, one
with a single supported value passes with it, and any other that is set is refused by name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aurora_core.errors import ConfigError
from aurora_core.models.rope import KEYS, checked

WITHOUT_MEANING = frozenset(
    {
        "model_type", "target_model_type", "torch_dtype", "dtype", "transformers_version", "_name_or_path",
        "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range", "use_cache", "pretraining_tp",
        "attention_dropout", "max_window_layers", "decoder_sparse_step", "auto_map", "id2label", "label2id",
        "return_dict", "_attn_implementation", "original_max_position_embeddings",
    }
)  # fmt: skip
PICKLED_WEIGHTS = ("mask_embedding.pt",)
"""Weights that authors publish as a pickle beside the safetensors; without them a draft computes something else."""
Only = Mapping[str, Callable[[Any], bool]]
"""Whether a key's value is the one that is supported."""
_OF_IMAGES = frozenset({"mrope_section", "mrope_interleaved"})
"""Of a rope: a draft's positions are of text."""
_MAGNITUDES = ("mscale", "mscale_all_dim")
"""Of yarn: the two that training and SGLang read alike."""


def _set(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def unsupported(values: Mapping[str, Any], only: Only, neutral: frozenset[str]) -> list[str]:
    """Fields that are set to what may change the arithmetic; null is as if a field were not there."""
    return [
        name
        for name, value in values.items()
        if (value is not None and not only[name](value) if name in only else name not in neutral and _set(value))
    ]


def refuse(found: Mapping[str, Any]) -> None:
    """Refuse a configuration for what :func:`unsupported` found in it.

    Args:
        found: values by what names them; where it is empty, nothing is wrong.

    Raises:
        ConfigError: names the fields and their values.
    """
    if found:
        shown = ", ".join(f"{path} {value!r:.60}" for path, value in sorted(found.items()))
        message = f"a draft with {shown} computes something else than is supported here"
        raise ConfigError(message)


def integer(raw: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A positive integer of a configuration; null is as if it were not there.

    Raises:
        ConfigError: it is missing, or no such number.
    """
    value = raw.get(name)
    if value is None:
        value = default
    if value is None or isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        message = f"{name} is {value!r:.60}, not a positive integer"
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
    # Where both are there transformers takes the older one.
    found = raw.get("rope_scaling") or raw.get("rope_parameters") or {}
    if not isinstance(found, Mapping):
        message = "rope_parameters is no object"
        raise ConfigError(message)
    nested = [name for name, value in found.items() if isinstance(value, Mapping)]
    if nested:
        message = f"a draft with a rope for each kind of layer ({', '.join(map(str, nested))}): one is supported"
        raise ConfigError(message)
    kind = found.get("rope_type") or found.get("type") or "default"
    kind = "default" if kind == "mrope" else kind
    if kind not in KEYS:
        message = f"rope of type {kind!r:.60}; supported are {', '.join(sorted(KEYS))}"
        raise ConfigError(message)
    names = {"rope_theta", *KEYS[kind], *(_MAGNITUDES if kind == "yarn" else ())}
    allowed = _OF_IMAGES | names | {"rope_type", "type"}
    only: Only = {"partial_rotary_factor": lambda value: value == 1}
    refuse({f"rope's {name}": found[name] for name in unsupported(found, only, allowed)})
    given = {name: found[name] for name in names if found.get(name) is not None}
    return checked({"rope_theta": raw.get("rope_theta"), **given, "rope_type": kind})
