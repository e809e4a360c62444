"""The EAGLE3 draft (Li et al., 2025, arXiv 2503.01840), with the names that SGLang's checkpoints use.

One decoder layer over the concatenation of a token's embedding and a hidden state. At the first step of a chain
the hidden state is the target's own (three layers, projected by ``fc``); at later steps it is the draft's output
before its final norm. EAGLE 3.1 norms the target's states before ``fc``, and hands on the output after the final norm.
Letters in shapes: B sequences, T positions, A auxiliary layers, H target width, D draft width, V draft vocabulary.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from aurora_core.config.parts import DraftShape
from aurora_core.drafts import published
from aurora_core.drafts.eagle3 import foreign, maps
from aurora_core.drafts.eagle3 import layers as feeding
from aurora_core.drafts.family import Draft
from aurora_core.drafts.modules import MLP, Linear, Norm, rotary, rotate
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
            "num_hidden_layers": 1,
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


class _Attention(nn.Module):
    def __init__(self, c: Eagle3Config) -> None:
        super().__init__()
        self.q_proj = Linear(2 * c.hidden_size, c.num_attention_heads * c.head_dim)
        self.k_proj = Linear(2 * c.hidden_size, c.num_key_value_heads * c.head_dim)
        self.v_proj = Linear(2 * c.hidden_size, c.num_key_value_heads * c.head_dim)
        self.o_proj = Linear(c.num_attention_heads * c.head_dim, c.hidden_size)


class _Layer(nn.Module):
    def __init__(self, c: Eagle3Config) -> None:
        super().__init__()
        self.input_layernorm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.hidden_norm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.self_attn = _Attention(c)
        self.post_attention_layernorm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size)


class Eagle3Draft(Draft):
    """The draft's weights and the parts of its forward pass that training and evaluation share."""

    algorithm = "EAGLE3"
    config: Eagle3Config
    lm_head: Linear
    d2t: Tensor
    t2d: Tensor
    _rope: LlamaRotaryEmbedding

    def __init__(self, config: Eagle3Config) -> None:
        super().__init__()
        self.config = config
        fed_by, width, eps = len(config.aux_layers), config.target_hidden_size, config.rms_norm_eps
        self.input_norm = Norm(fed_by * width, eps=eps) if config.norm_before_fc else None
        self.fc_norm = nn.ModuleList(Norm(width, eps=eps) for _ in range(fed_by)) if config.fc_norm else None
        self.fc = Linear(fed_by * width, config.hidden_size)
        self.midlayer = _Layer(config)
        self.norm = Norm(config.hidden_size, eps=config.rms_norm_eps)
        if not config.shared_head:
            self.lm_head = Linear(config.hidden_size, config.draft_vocab_size)
            self.register_buffer("d2t", torch.zeros(config.draft_vocab_size, dtype=torch.int64))
            self.register_buffer("t2d", torch.zeros(config.vocab_size, dtype=torch.bool))
        self._rope = rotary(
            config.head_dim, config.num_attention_heads, config.max_position_embeddings, config.rope_parameters
        )

    def set_vocabulary(self, ids: Tensor) -> None:
        """Record which target tokens the draft's ids stand for, [V] ascending."""
        self.d2t.copy_(maps.to_d2t(ids))
        self.t2d.copy_(maps.to_t2d(ids, self.config.vocab_size))

    @property
    def ids(self) -> Tensor:
        """Target ids of the draft's vocabulary, [V]."""
        return torch.arange(self.config.vocab_size) if self.config.shared_head else maps.from_d2t(self.d2t.cpu())

    @property
    def head(self) -> Tensor | None:
        """Its own head, [V, D]; None where it uses its target's."""
        return None if self.config.shared_head else self.lm_head.weight

    def stream(self, aux: Tensor) -> Tensor:
        """What the first step of a chain is fed with: the target's states, [..., A * H], as [..., D].

        Norms and their order are those of ``LlamaModel.forward`` in SGLang 0.5.23, ``models/llama_eagle3.py``.
        """
        if self.input_norm is not None:
            aux = self.input_norm(aux)
        if self.fc_norm is not None:
            states = zip(self.fc_norm, aux.chunk(len(self.fc_norm), -1), strict=True)
            aux = torch.cat([norm(state) for norm, state in states], -1)
        projected: Tensor = self.fc(aux)
        return projected

    def handed_on(self, hidden: Tensor, normed: Tensor) -> Tensor:
        """What the next step is fed with: a step's output before or after the final norm."""
        return normed if self.config.norm_output else hidden

    def rope_tables(self, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Cos and sin for positions, each [B, 1, T, head_dim], fp32."""
        cos, sin = self._rope(self.norm.weight.float(), positions_BT)
        return cos[:, None], sin[:, None]

    def qkv(self, embeds_BTD: Tensor, hidden_BTD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: [B, heads, T, head_dim], [B, kv heads, T, head_dim] twice."""
        layer, c = self.midlayer, self.config
        x = torch.cat((layer.input_layernorm(embeds_BTD), layer.hidden_norm(hidden_BTD)), dim=-1)

        def split(y: Tensor, heads: int) -> Tensor:
            return y.view(*y.shape[:-1], heads, c.head_dim).transpose(1, 2)

        q = split(layer.self_attn.q_proj(x), c.num_attention_heads)
        k = split(layer.self_attn.k_proj(x), c.num_key_value_heads)
        v = split(layer.self_attn.v_proj(x), c.num_key_value_heads)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def finish(self, hidden_BTD: Tensor, attended_BHTK: Tensor) -> Tensor:
        """What follows attention: both residual branches. Returns [B, T, D], before the final norm."""
        layer = self.midlayer
        mixed: Tensor = layer.self_attn.o_proj(attended_BHTK.transpose(1, 2).flatten(-2))
        hidden_BTD = hidden_BTD + mixed
        out: Tensor = hidden_BTD + layer.mlp(layer.post_attention_layernorm(hidden_BTD))
        return out
