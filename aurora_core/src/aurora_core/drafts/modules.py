"""Parts of a layer of Llama's, by the names that SGLang's checkpoints use, in the arithmetic of SGLang."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from aurora_core import products


class Linear(nn.Linear):
    """Without a bias, by the faster matrix product."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        return products.linear(x, self.weight)


class Norm(nn.RMSNorm):
    """RMS norm in the arithmetic of its input, as SGLang's."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to the same."""
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class MLP(nn.Module):
    """Llama's gated MLP, ``width`` to ``inner`` and back."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = Linear(width, inner)
        self.up_proj = Linear(width, inner)
        self.down_proj = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to the same."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


def rotate(x_BHTK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding in the half-split layout of Llama."""
    half = x_BHTK.shape[-1] // 2
    turned = torch.cat((-x_BHTK[..., half:], x_BHTK[..., :half]), dim=-1)
    return x_BHTK * cos + turned * sin


def rotary(width: int, heads: int, positions: int, parameters: Mapping[str, Any]) -> LlamaRotaryEmbedding:
    """Rotary position embedding of heads ``width`` wide; its buffers are no part of a checkpoint.

    Args:
        width: of a head.
        heads: of queries.
        positions: that the draft was made for.
        parameters: ``rope_parameters`` of its configuration.
    """
    rope = LlamaRotaryEmbedding(
        LlamaConfig(
            hidden_size=heads * width,
            num_attention_heads=heads,
            head_dim=width,
            max_position_embeddings=positions,
            rope_parameters=dict(parameters),
        )
    )
    for name, buffer in list(rope.named_buffers()):
        # Derived from the configuration.
        rope.register_buffer(name, buffer, persistent=False)
    return rope
