"""The EAGLE3 draft (Li et al., 2025, arXiv 2503.01840), with the names that SGLang's checkpoints use.

A decoder layer over the concatenation of a token's embedding and a hidden state; further ones, if there are any, read
hidden states alone. At the first step of a chain the hidden state is the target's own (three layers, projected by
``fc``); at later steps it is the draft's output before its final norm. EAGLE 3.1 norms the target's states before
``fc``, and hands on the output after the final norm. Letters in shapes: B sequences, T positions, A auxiliary layers, H
target width, D draft width, V draft vocabulary.
"""

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from aurora_core.drafts.eagle3 import maps
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.family import Draft
from aurora_core.drafts.modules import MLP, Linear, Norm, rotary, rotate


class _Attention(nn.Module):
    def __init__(self, c: Eagle3Config, width: int) -> None:
        super().__init__()
        self.q_proj = Linear(width, c.num_attention_heads * c.head_dim)
        self.k_proj = Linear(width, c.num_key_value_heads * c.head_dim)
        self.v_proj = Linear(width, c.num_key_value_heads * c.head_dim)
        self.o_proj = Linear(c.num_attention_heads * c.head_dim, c.hidden_size)


class Layer(nn.Module):
    """A decoder layer; the first one alone reads embeddings, and norms them.

    ``hidden_norm`` comes before attention in all of them, as in ``LlamaDecoderLayer`` of SGLang 0.5.23's
    ``models/llama_eagle3.py``.
    """

    input_layernorm: Norm

    def __init__(self, c: Eagle3Config, *, first: bool) -> None:
        super().__init__()
        if first:
            self.input_layernorm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.hidden_norm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.self_attn = _Attention(c, (1 + first) * c.hidden_size)
        self.post_attention_layernorm = Norm(c.hidden_size, eps=c.rms_norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size)

    def finish(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """Both residual branches that follow attention, [..., heads * head_dim]: [..., D], before any norm."""
        hidden = hidden + self.self_attn.o_proj(attended)
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out


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
        self.midlayer = Layer(config, first=True)
        # Named as in SGLang, where the first one is midlayer.
        later = range(1, config.num_hidden_layers)
        self.layers = nn.ModuleDict({str(number): Layer(config, first=False) for number in later})
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

    @property
    def stack(self) -> list[Layer]:
        """All layers, the first one first."""
        return [self.midlayer, *(layer for layer in self.layers.values() if isinstance(layer, Layer))]

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

    def qkv(
        self, layer: Layer, embeds_BTD: Tensor, hidden_BTD: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: [B, heads, T, head_dim], [B, kv heads, T, head_dim] twice."""
        c, x = self.config, layer.hidden_norm(hidden_BTD)
        if layer is self.midlayer:
            x = torch.cat((layer.input_layernorm(embeds_BTD), x), dim=-1)

        def split(y: Tensor, heads: int) -> Tensor:
            return y.view(*y.shape[:-1], heads, c.head_dim).transpose(1, 2)

        q = split(layer.self_attn.q_proj(x), c.num_attention_heads)
        k = split(layer.self_attn.k_proj(x), c.num_key_value_heads)
        v = split(layer.self_attn.v_proj(x), c.num_key_value_heads)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        return rotate(q, cos, sin), rotate(k, cos, sin), v
