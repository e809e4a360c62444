"""The shape of a new draft: what of its target's shape can be a dense layer of Llama's."""

from dataclasses import dataclass
from typing import Any

from aurora_core.config.parts import DraftShape
from aurora_core.errors import ConfigError
from aurora_core.models.rope import KEYS, checked
from aurora_core.models.target import Target

_KEY_HEADS = 8


@dataclass(frozen=True)
class Attention:
    """Heads of queries and of keys, and their width."""

    heads: int
    key_heads: int
    width: int


def attention(target: Target, wish: DraftShape | None = None) -> Attention:
    """A new draft's attention: the target's, or for latent attention heads of its value's width over its own width.

    Args:
        target: the target.
        wish: heads or a width that replace those.

    Raises:
        ConfigError: key heads do not divide the heads.
    """
    own, wish = _attention(target), wish or DraftShape()
    heads = wish.num_attention_heads or own.heads
    key_heads = wish.num_key_value_heads or own.key_heads
    if heads % key_heads or target.hidden_size % heads:
        raise ConfigError(
            f"a new draft of width {target.hidden_size} cannot have {heads} heads and {key_heads} key heads: "
            "draft.shape.numAttentionHeads must divide the width, and numKeyValueHeads must divide that"
        )
    return Attention(heads, key_heads, wish.head_dim or own.width)


def _attention(target: Target) -> Attention:
    c = target.shape
    if target.family.shape == "latent":
        width = int(c.v_head_dim)
        # A power of two, so that GPUs share the heads evenly.
        heads = 1 << max(0, -(-target.hidden_size // width) - 1).bit_length()
        return Attention(heads, min(heads, _KEY_HEADS), width)
    heads = int(c.num_attention_heads)
    width = int(getattr(c, "head_dim", None) or target.hidden_size // heads)
    key_heads = int(getattr(c, "num_key_value_heads", None) or heads)
    # Llama's configuration, which is a draft's, wants heads that divide the width. Not all targets have such.
    fitting = [n for n in range(key_heads, heads + 1, key_heads) if target.hidden_size % n == 0]
    return Attention(fitting[-1], key_heads, width) if fitting else Attention(1, 1, width)


def mlp_width(target: Target) -> int:
    """Width of a new draft's MLP."""
    width = int(target.shape.intermediate_size)
    return width * int(target.shape.num_experts_per_tok) if target.family.shape == "experts" else width


def rope(target: Target) -> dict[str, Any]:
    """A new draft's ``rope_parameters``: the target's of full attention, without what only the target's layers read.

    Sections of images and partial rotation are for other layers than a draft's; a scaling that is not known here leaves
    it without one.

    Raises:
        ConfigError: a number of the target's is none, or out of range.
    """
    given: Any = getattr(target.shape, "rope_parameters", None) or {}
    given = given.get("full_attention", given) if isinstance(given, dict) else given
    kind = given.get("rope_type", "default") if isinstance(given, dict) else None
    if not isinstance(kind, str):
        raise ConfigError(f"{target.path / 'config.json'}: rope_parameters is {given!r:.60}, not an object with a type")
    keys = KEYS.get(kind, ())
    kept = {key: given.get(key) for key in ("rope_theta", *keys)}
    try:
        return checked({"rope_type": kind if keys else "default", **kept})
    except ConfigError as error:
        raise ConfigError(f"{target.path / 'config.json'}: {error}") from error
