"""What a DFlash checkpoint says of itself, in the layout that SGLang and the method's authors use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from aurora_core.config.parts import DraftConfig
from aurora_core.drafts.dflash import layers as feeding
from aurora_core.drafts.published import WITHOUT_MEANING, Only, integer, real, refuse, rope, unsupported
from aurora_core.errors import ConfigError
from aurora_core.models import aux_layers, shape
from aurora_core.models.target import Target

ARCHITECTURE = "DFlashDraftModel"
BLOCK = 16
"""Tokens of a block where a configuration does not say: SGLang's and the authors' default."""
_MOST_LAYERS = 64

_READ = frozenset(
    {
        "architectures", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim",
        "vocab_size", "num_hidden_layers", "rms_norm_eps", "max_position_embeddings", "rope_parameters", "rope_scaling",
        "rope_theta", "block_size", "num_target_layers", "target_layer_ids", "mask_token_id", "mask_token",
        "dflash_config",
    }
)  # fmt: skip
_ONLY: Only = {
    "hidden_act": lambda value: value == "silu",
    "rope_is_neox_style": lambda value: value is True,
    "is_neox_style": lambda value: value is True,
    "partial_rotary_factor": lambda value: value == 1,
    "layer_types": lambda value: isinstance(value, list) and set(value) == {"full_attention"},
    # Whose embedding and head are one is the target's affair: the draft has neither.
    "tie_word_embeddings": lambda value: isinstance(value, bool),
    # Without layers that have a window it has no effect.
    "sliding_window": lambda _: True,
}
_OF_DFLASH = frozenset({"block_size", "num_target_layers", "target_layer_ids", "mask_token_id", "mask_token"})
_OF_DFLASH_ONLY: Only = {
    "output_multiplier": lambda value: value == 1,
    "attention_value_scale": lambda value: value == 1,
}


def _inner(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = raw.get("dflash_config") or {}
    if not isinstance(inner, Mapping):
        message = "dflash_config is no object"
        raise ConfigError(message)
    return inner


@dataclass(frozen=True)
class DFlashConfig:
    """The draft's shape.

    Attributes:
        block_size: tokens of a block: the last one that is known, and the proposals after it.
        mask_token_id: the token whose embedding stands for what is not known yet.
        num_hidden_layers: of the draft.
        num_target_layers: of its target, where that is known.
        aux_layers: those that feed it, numbered from 0.
    """

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_hidden_layers: int
    vocab_size: int
    block_size: int
    mask_token_id: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope_parameters: dict[str, Any]
    num_target_layers: int | None
    aux_layers: tuple[int, ...]

    @property
    def target_hidden_size(self) -> int:
        """Width of the target; the draft is as wide, as it shares the target's embedding and head."""
        return self.hidden_size

    @property
    def draft_vocab_size(self) -> int:
        """All tokens of the target."""
        return self.vocab_size

    @classmethod
    def for_target(cls, config: DraftConfig, target: Target, mask_token_id: int) -> Self:
        """A new draft whose layers are like its target's as dense layers can be.

        Raises:
            ConfigError: the target's architecture is not known, or has no such layers, or the shape is impossible.
        """
        wish = config.shape
        heads = shape.attention(target, wish)
        depth = (wish and wish.num_hidden_layers) or feeding.DEPTH
        layers = config.aux_layers or feeding.default(target, depth)
        aux_layers.check(layers, target, "a new draft cannot be fed by layers")
        return cls(
            hidden_size=target.hidden_size,
            intermediate_size=(wish and wish.intermediate_size) or shape.mlp_width(target),
            num_attention_heads=heads.heads,
            num_key_value_heads=heads.key_heads,
            head_dim=heads.width,
            num_hidden_layers=depth,
            vocab_size=target.vocab_size,
            block_size=config.num_draft_tokens,
            mask_token_id=mask_token_id,
            rms_norm_eps=float(target.shape.rms_norm_eps),
            max_position_embeddings=int(target.shape.max_position_embeddings),
            rope_parameters=shape.rope(target),
            num_target_layers=target.num_layers,
            aux_layers=layers,
        )

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any]) -> Self:
        """Read a checkpoint's config.json.

        Raises:
            ConfigError: another architecture, or a variant of DFlash that is not supported.
        """
        if ARCHITECTURE not in (raw.get("architectures") or []):
            message = f"the draft's architectures are {raw.get('architectures')}, not {ARCHITECTURE}"
            raise ConfigError(message)
        inner = _inner(raw)
        found = {name: raw[name] for name in unsupported(raw, _ONLY, _READ | WITHOUT_MEANING)}
        strange = unsupported(inner, _OF_DFLASH_ONLY, _OF_DFLASH)
        refuse(found | {f"dflash_config.{name}": inner[name] for name in strange})
        # As SGLang reads them: what stands in dflash_config comes first.
        stated = {name: raw.get(name) for name in _OF_DFLASH} | {k: v for k, v in inner.items() if v is not None}
        hidden, heads = integer(raw, "hidden_size"), integer(raw, "num_attention_heads")
        depth, vocabulary, mask = integer(raw, "num_hidden_layers"), integer(raw, "vocab_size"), stated["mask_token_id"]
        if depth > _MOST_LAYERS:
            message = f"num_hidden_layers is {depth}: drafts of up to {_MOST_LAYERS} layers are supported"
            raise ConfigError(message)
        if mask is None:
            message = "mask_token_id is missing: which token it is must not depend on a tokenizer"
            raise ConfigError(message)
        if isinstance(mask, bool) or not isinstance(mask, int) or not 0 <= mask < vocabulary:
            message = f"mask_token_id is {mask!r:.60}, not a token of a vocabulary of {vocabulary}"
            raise ConfigError(message)
        block = integer(stated, "block_size", BLOCK)
        if not 1 < block <= 256:  # noqa: PLR2004 (a block has a proposal, and SGLang's limit is far below)
            message = f"block_size is {block}: supported are 2 to 256"
            raise ConfigError(message)
        of_target = None if stated["num_target_layers"] is None else integer(stated, "num_target_layers")
        return cls(
            hidden_size=hidden,
            intermediate_size=integer(raw, "intermediate_size"),
            num_attention_heads=heads,
            num_key_value_heads=integer(raw, "num_key_value_heads", heads),
            head_dim=integer(raw, "head_dim", max(1, hidden // heads)),
            num_hidden_layers=depth,
            vocab_size=vocabulary,
            block_size=block,
            mask_token_id=mask,
            rms_norm_eps=real(raw, "rms_norm_eps", 1e-6),
            max_position_embeddings=integer(raw, "max_position_embeddings", 32768),
            rope_parameters=rope(raw),
            num_target_layers=of_target,
            aux_layers=feeding.named(stated["target_layer_ids"], of_target, depth),
        )

    def to_hf(self, dtype: str) -> dict[str, Any]:
        """config.json as SGLang reads it."""
        counted = {} if self.num_target_layers is None else {"num_target_layers": self.num_target_layers}
        return {
            "architectures": [ARCHITECTURE],
            # The layer is Qwen3's: a norm over each head of queries and of keys.
            "model_type": "qwen3",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "num_hidden_layers": self.num_hidden_layers,
            "layer_types": ["full_attention"] * self.num_hidden_layers,
            "vocab_size": self.vocab_size,
            "rms_norm_eps": self.rms_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_parameters": self.rope_parameters,
            "rope_theta": self.rope_parameters.get("rope_theta", 10000.0),
            "hidden_act": "silu",
            "attention_bias": False,
            "tie_word_embeddings": False,
            "torch_dtype": dtype,
            "block_size": self.block_size,
            **counted,
            "dflash_config": {"mask_token_id": self.mask_token_id, "target_layer_ids": list(self.aux_layers)},
        }
