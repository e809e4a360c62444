"""The shapes that sizes follow from: a target's, and its draft's. Plain data; no torch, no network."""

from dataclasses import dataclass
from math import ceil

AUX_LAYERS = 3
"""Target layers whose outputs feed a draft: aurora_core/drafts/eagle3/layers.py, COUNT."""


@dataclass(frozen=True)
class Source:
    """Where a fact or a figure is from.

    Attributes:
        text: names it.
        url: its address; empty where it is in this repository or in a package.
    """

    text: str
    url: str = ""

    @property
    def shown(self) -> str:
        """As Markdown."""
        return f"[{self.text}]({self.url})" if self.url else self.text


@dataclass(frozen=True)
class Target:
    """Facts of a target.

    Attributes:
        model: as target.model names it.
        kind: transformers' model type, whose configuration class knows the model.
        hidden, layers, vocabulary: of its text model.
        parameters: of all tensors that the engine loads.
        quantised: how many of them are stored in ``bits`` each, scales included; the rest takes two bytes.
        bits: see ``quantised``.
        tied: whether the embedding is the head too.
        kv_bytes: of a token in the KV cache, of all GPUs together where each has its part.
        kv_parts: into how many parts the GPUs can split that; each GPU beyond them has a copy.
        state_bytes: of a running request beside its tokens, of all GPUs together (linear attention).
        number_bytes: of a hidden state's number: two, or four on a CPU that computes in fp32.
        source: of these facts.
    """

    model: str
    kind: str
    hidden: int
    layers: int
    vocabulary: int
    parameters: int
    kv_bytes: int
    kv_parts: int
    source: Source
    quantised: int = 0
    bits: float = 16.0
    tied: bool = False
    state_bytes: int = 0
    number_bytes: int = 2

    @property
    def weight_bytes(self) -> int:
        """The checkpoint, and what the engine loads of it."""
        return ceil(self.quantised * self.bits / 8) + 2 * (self.parameters - self.quantised)

    @property
    def row_bytes(self) -> int:
        """Hidden states of a token: three auxiliary layers' and the last."""
        return (AUX_LAYERS + 1) * self.hidden * self.number_bytes


@dataclass(frozen=True)
class Draft:
    """An EAGLE3 draft: aurora_core/drafts/eagle3/draft.py.

    Attributes:
        hidden: its width, which is its target's.
        heads, key_heads, head_dim, mlp: of its one layer; an MLP of width 0 is not known.
        vocabulary: tokens that it can propose.
        stated: parameters that a published draft's author states, where nothing more is known of its shape.
        source: of the shape.
    """

    hidden: int
    heads: int
    key_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    source: Source
    stated: int = 0

    @property
    def parameters(self) -> int:
        """Of ``fc``, attention, MLP, four norms and the head. It has no embedding: that is the target's."""
        if self.stated:
            return self.stated
        width, queries, keys = self.hidden, self.heads * self.head_dim, self.key_heads * self.head_dim
        attention = 2 * width * (queries + 2 * keys) + queries * width
        return AUX_LAYERS * width**2 + attention + 3 * width * self.mlp + 4 * width + self.vocabulary * width

    @property
    def kv_bytes(self) -> int:
        """Of a token in its KV cache."""
        return 2 * self.key_heads * self.head_dim * 2


def kv_of_heads(layers: int, key_heads: int, head_dim: int) -> int:
    """Bytes of a token's keys and values in 16 bits, of the layers that keep any."""
    return 2 * layers * key_heads * head_dim * 2
