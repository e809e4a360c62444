"""The shape of an EAGLE3 draft, and its config.json as SGLang has it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aurora_core.config.parts import DraftShape
from aurora_core.drafts import published
from aurora_core.drafts.eagle3 import foreign
from aurora_core.drafts.eagle3 import layers as feeding
from aurora_core.errors import ConfigError
from aurora_core.models import aux_layers, shape
from aurora_core.models.target import Target

ARCHITECTURE = "LlamaForCausalLMEagle3"


@dataclass(frozen=True)
class Eagle3Config:
    """The draft's shape.

    Attributes:
        norm_before_fc: whether a norm over all of the target's states together, side by side, comes before ``fc``.
        fc_norm: whether each of them has a norm of its own there, which follows that one.
        num_hidden_layers: all of them.
        shared_head: whether it proposes through its target's head, over the target's full vocabulary.
        norm_output: whether a step is fed with the output of the one before after the final norm, not before it.
    """

    hidden_size: int
    target_hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    draft_vocab_size: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope_parameters: dict[str, Any]
    aux_layers: tuple[int, ...]
    norm_before_fc: bool = False
    fc_norm: bool = False
    norm_output: bool = False
    shared_head: bool = False
    num_hidden_layers: int = 1

    @classmethod
    def for_target(
        cls,
        target: Target,
        draft_vocab_size: int,
        layers: tuple[int, ...] | None,
        wish: DraftShape | None = None,
    ) -> Self:
        """A draft of one layer, as its target's own as a dense layer can be.

        Args:
            target: the target.
            draft_vocab_size: tokens that the draft can propose; at most the target's.
            layers: the target's layers that feed it, or None for the default.
            wish: what of its shape does not follow from the target.

        Raises:
            ConfigError: the target's architecture is not known, or has no such layers, or the shape is impossible.
        """
        heads = shape.attention(target, wish)
        layers = layers or feeding.default(target)
        aux_layers.check(layers, target, "a new draft cannot be fed by layers")
        return cls(
            hidden_size=target.hidden_size,
            target_hidden_size=target.hidden_size,
            intermediate_size=(wish and wish.intermediate_size) or shape.mlp_width(target),
            num_attention_heads=heads.heads,
            num_key_value_heads=heads.key_heads,
            head_dim=heads.width,
            vocab_size=target.vocab_size,
            draft_vocab_size=min(draft_vocab_size, target.vocab_size),
            rms_norm_eps=float(target.shape.rms_norm_eps),
            max_position_embeddings=int(target.shape.max_position_embeddings),
            rope_parameters=shape.rope(target),
            aux_layers=layers,
        )

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any], names: Collection[str] | None = None) -> Self:
        """Read a checkpoint's config.json, as SGLang has it.

        Args:
            raw: the configuration.
            names: of its tensors; where they are not known a ``draft_vocab_size`` of null stands for the target's head,
                as in SGLang and in what is written here.

        Raises:
            ConfigError: another architecture, or a variant of EAGLE3 that is not supported.
        """
        if ARCHITECTURE not in (raw.get("architectures") or []):
            message = f"the draft's architectures are {raw.get('architectures')}, not {ARCHITECTURE}"
            raise ConfigError(message)
        foreign.check_fields(raw)
        hidden, heads = published.integer(raw, "hidden_size"), published.integer(raw, "num_attention_heads")
        if published.integer(raw, "target_hidden_size", hidden) != hidden:
            message = f"hidden_size {hidden} is not target_hidden_size: a draft shares its target's embedding here"
            raise ConfigError(message)
        key_heads = published.integer(raw, "num_key_value_heads", heads)
        width = published.integer(raw, "head_dim", max(1, hidden // heads))
        if heads % key_heads or width % 2:
            message = (
                f"{heads} heads, {key_heads} key heads and head_dim {width} are no attention: key heads must divide "
                "the heads, and rope turns pairs of numbers"
            )
            raise ConfigError(message)
        layers = (raw.get("eagle_config") or {}).get("eagle_aux_hidden_state_layer_ids") or ()
        if not all(isinstance(layer, int) and not isinstance(layer, bool) for layer in layers):
            message = f"eagle_aux_hidden_state_layer_ids are {layers!r:.60}, not integers"
            raise ConfigError(message)
        if len(layers) == 1:
            message = "it is fed by one layer of its target, which SGLang 0.5.23 does not project: it feeds it as it is"
            raise ConfigError(message)
        vocabulary = published.integer(raw, "vocab_size")
        own = published.integer(raw, "draft_vocab_size", vocabulary)
        shared = raw.get("draft_vocab_size") is None if names is None else not foreign.has_head(names)
        return cls(
            hidden_size=hidden,
            target_hidden_size=hidden,
            intermediate_size=published.integer(raw, "intermediate_size"),
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
            head_dim=width,
            vocab_size=vocabulary,
            draft_vocab_size=own,
            rms_norm_eps=published.real(raw, "rms_norm_eps", 1e-6),
            max_position_embeddings=published.integer(raw, "max_position_embeddings", 4096),
            rope_parameters=published.rope(raw),
            aux_layers=tuple(layers),
            shared_head=shared and own == vocabulary,
            num_hidden_layers=foreign.depth(raw),
            **foreign.norms(raw),
        )

    def to_hf(self, dtype: str) -> dict[str, Any]:
        """config.json as SGLang reads it."""
        return {
            "architectures": [ARCHITECTURE],
            "model_type": "llama",
            "hidden_size": self.hidden_size,
            "target_hidden_size": self.target_hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "num_hidden_layers": self.num_hidden_layers,
            "vocab_size": self.vocab_size,
            # SGLang takes the target's head where this is null.
            "draft_vocab_size": None if self.shared_head else self.draft_vocab_size,
            "rms_norm_eps": self.rms_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_parameters": self.rope_parameters,
            "rope_theta": self.rope_parameters.get("rope_theta", 10000.0),
            "norm_before_fc": self.norm_before_fc,
            "fc_norm": self.fc_norm,
            "norm_output": self.norm_output,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "torch_dtype": dtype,
            "eagle_config": {
                "use_aux_hidden_state": True,
                "eagle_aux_hidden_state_layer_ids": list(self.aux_layers),
            },
        }
