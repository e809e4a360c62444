"""The DFlash draft (Chen et al., 2026, arXiv 2602.06036), with the names that SGLang's checkpoints use.

A few layers like Qwen3's run over a block: the last token that is known, at its position, and the mask token at each
position after it. Every row of the block sees the full block and, as keys and values of every layer, the target's own
hidden states at all rows before it. One pass gives all proposals: the output at each mask, through the target's head.
Letters in shapes: D width, K head width.
"""

from typing import cast

import torch
from torch import Tensor, nn

from aurora_core.drafts.dflash.config import DFlashConfig
from aurora_core.drafts.family import Draft
from aurora_core.drafts.modules import MLP, Linear, Norm, rotary
from aurora_core.products import linear


def _heads(x: Tensor, width: int) -> Tensor:
    """[..., heads * K] to [..., heads, K]."""
    return x.view(*x.shape[:-1], -1, width)


class Attention(nn.Module):
    """Projections and the norms of each head."""

    def __init__(self, c: DFlashConfig) -> None:
        super().__init__()
        self.q_proj = Linear(c.hidden_size, c.num_attention_heads * c.head_dim)
        self.k_proj = Linear(c.hidden_size, c.num_key_value_heads * c.head_dim)
        self.v_proj = Linear(c.hidden_size, c.num_key_value_heads * c.head_dim)
        self.o_proj = Linear(c.num_attention_heads * c.head_dim, c.hidden_size)
        self.q_norm = Norm(c.head_dim, eps=c.rms_norm_eps)
        self.k_norm = Norm(c.head_dim, eps=c.rms_norm_eps)
        self._width = c.head_dim

    def queries(self, x: Tensor) -> Tensor:
        """[..., D] to [..., heads, K], before rotation."""
        normed: Tensor = self.q_norm(_heads(self.q_proj(x), self._width))
        return normed

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[..., D] to [..., kv heads, K] twice, keys before rotation."""
        both = linear(x, torch.cat((self.k_proj.weight, self.v_proj.weight)))
        keys, values = _heads(both, self._width).chunk(2, dim=-2)
        return self.k_norm(keys), values


class Layer(nn.Module):
    """One layer."""

    def __init__(self, c: DFlashConfig) -> None:
        super().__init__()
        self.input_layernorm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size)

    def after(self, stream: Tensor, attended: Tensor) -> Tensor:
        """The stream [..., D] with what its rows attended to, [..., heads * K], and what the MLP makes of that."""
        stream = stream + self.self_attn.o_proj(attended)
        out: Tensor = stream + self.mlp(self.post_attention_layernorm(stream))
        return out


class DFlashDraft(Draft):
    """The draft's weights."""

    algorithm = "DFLASH"
    config: DFlashConfig

    def __init__(self, config: DFlashConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.fc = Linear(len(config.aux_layers) * width, width)
        self.hidden_norm = Norm(width, eps=config.rms_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = Norm(width, eps=config.rms_norm_eps)
        self._rope = rotary(
            config.head_dim, config.num_attention_heads, config.max_position_embeddings, config.rope_parameters
        )

    @property
    def ids(self) -> Tensor:
        """All tokens of the target."""
        return torch.arange(self.config.vocab_size)

    @property
    def head(self) -> None:
        """It proposes through the target's."""
        return None

    def set_vocabulary(self, ids: Tensor) -> None:
        """Never called: without a head of its own it has no vocabulary of its own."""
        message = f"a DFlash draft proposes every token of its target, and not {ids.numel()} of them"
        raise TypeError(message)

    @property
    def stack(self) -> list[Layer]:
        """Its layers, in order."""
        return cast("list[Layer]", list(self.layers))

    def context(self, aux: Tensor) -> Tensor:
        """What every layer's keys and values of the target's rows are made of: [..., layers * D] to [..., D]."""
        normed: Tensor = self.hidden_norm(self.fc(aux))
        return normed

    def rope_tables(self, position_N: Tensor) -> tuple[Tensor, Tensor]:
        """Cos and sin for positions, each [N, 1, K], fp32."""
        cos, sin = self._rope(self.norm.weight.float(), position_N[None])
        return cos[0][:, None], sin[0][:, None]
