"""The chains of :mod:`aurora_core.drafts.eagle3.unroll`, computing only what a loss needs.

The reference runs every row of every sample through every step. Here the prompt's rows give keys and values once, and
all else runs over roots alone, fewer with each step; the half of the projections that reads a token's embedding is
computed once for each position and not once for each step; queries of a group share their keys without copies; and no
matrix product has a padded row. Of several layers that is so for the last one: those before it run over all rows at the
first step, because the next one's keys and values are made of their outputs. The test requires the same outputs and
gradients of both.

Letters in shapes: N committed rows, R roots, S roots that are left at a step, D draft width, G queries of a key, K
head width.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from aurora_core.drafts.eagle3.draft import Eagle3Draft, Layer
from aurora_core.drafts.modules import rotate
from aurora_core.products import linear
from aurora_core.samples.packed import Packed

_CHUNK = 256
"""Roots that attend together: half of a long sample's scores would be of rows that are hidden."""


class _Projection:
    """Queries, keys and values of a layer that reads hidden states alone."""

    def __init__(self, draft: Eagle3Draft, layer: Layer) -> None:
        c, attention = draft.config, layer.self_attn
        self._heads, self._kv_heads, self._width = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        self._q = attention.q_proj.weight
        self._kv = torch.cat((attention.k_proj.weight, attention.v_proj.weight))

    def every_query(self, normed_ND: Tensor) -> Tensor:
        """Of all committed rows, [N, heads, K], before rotation."""
        return linear(normed_ND, self._q).view(-1, self._heads, self._width)

    def queries(self, normed_SD: Tensor, at_root: Tensor) -> Tensor:
        """[S, heads, K], before rotation."""
        del at_root
        return self.every_query(normed_SD)

    def keys_values(self, normed_SD: Tensor, at_row: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[S, kv heads, K] twice, keys before rotation."""
        del at_row
        both = linear(normed_SD, self._kv).view(-1, 2 * self._kv_heads, self._width)
        return both[:, : self._kv_heads], both[:, self._kv_heads :]


class _FirstProjection:
    """Those of the first layer, as the sum of what the embedding and what the hidden state give."""

    def __init__(self, draft: Eagle3Draft, embedded_ND: Tensor, root_row: Tensor) -> None:
        c, attention = draft.config, draft.midlayer.self_attn
        self._heads, self._kv_heads, self._width = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        d = c.hidden_size
        weight = torch.cat((attention.k_proj.weight, attention.v_proj.weight))
        self._q_hidden, self._kv_hidden = attention.q_proj.weight[:, d:], weight[:, d:]
        self._embedded, self._of_embedding = embedded_ND, attention.q_proj.weight[:, :d]
        # The embedding's half: of keys and values at every committed row, of queries at roots alone.
        self._kv_embedded = linear(embedded_ND, weight[:, :d])
        self._q_embedded = linear(embedded_ND[root_row], self._of_embedding)

    def every_query(self, normed_ND: Tensor) -> Tensor:
        """Of all committed rows, [N, heads, K], before rotation."""
        q = linear(normed_ND, self._q_hidden) + linear(self._embedded, self._of_embedding)
        return q.view(-1, self._heads, self._width)

    def queries(self, normed_SD: Tensor, at_root: Tensor) -> Tensor:
        """[S, heads, K], before rotation; ``at_root`` names the roots whose tokens are read."""
        q = linear(normed_SD, self._q_hidden) + self._q_embedded[at_root]
        return q.view(-1, self._heads, self._width)

    def keys_values(self, normed_SD: Tensor, at_row: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[S, kv heads, K] twice, keys before rotation; ``at_row`` names the committed rows whose tokens are read."""
        embedded = self._kv_embedded if at_row is None else self._kv_embedded[at_row]
        both = (linear(normed_SD, self._kv_hidden) + embedded).view(-1, 2 * self._kv_heads, self._width)
        return both[:, : self._kv_heads], both[:, self._kv_heads :]


def _rotated(draft: Eagle3Draft, x_SHK: Tensor, position_S: Tensor) -> Tensor:
    cos, sin = draft.rope_tables(position_S[None])
    return rotate(x_SHK, cos[0, 0][:, None].to(x_SHK.dtype), sin[0, 0][:, None].to(x_SHK.dtype))


def _attend(q: Tensor, committed: tuple[Tensor, Tensor], own: list[tuple[Tensor, Tensor]], position: Tensor) -> Tensor:
    """Attention of one sample's roots over its committed rows and over their own chains.

    Args:
        q: [S, heads, K].
        committed: keys and values of the sample's rows, [T, kv heads, K].
        own: keys and values of each earlier step of the chains, [S, kv heads, K].
        position: int64 [S], the row that each chain starts at: the last one that it sees.

    Returns:
        [S, heads * K].
    """
    keys, values = committed
    count, heads, width = q.shape
    kv_heads, rows = keys.shape[1], keys.shape[0]
    grouped = q.view(count, kv_heads, heads // kv_heads, width).permute(1, 2, 0, 3)
    flat = grouped.reshape(kv_heads, -1, width)
    scores = (flat @ keys.permute(1, 2, 0)).view(kv_heads, -1, count, rows).float()
    hidden = torch.arange(rows, device=q.device)[None] > position[:, None]
    parts = [scores.masked_fill(hidden, -torch.inf)]
    parts += [(grouped * k.transpose(0, 1)[:, None]).sum(-1, keepdim=True).float() for k, _ in own]
    weights = (torch.cat(parts, dim=-1) * width**-0.5).softmax(-1).to(q.dtype)
    out = (weights[..., :rows].reshape(kv_heads, -1, rows) @ values.transpose(0, 1)).view_as(grouped)
    for step, (_, v) in enumerate(own):
        out = out + weights[..., rows + step, None] * v.transpose(0, 1)[:, None]
    attended: Tensor = out.permute(2, 0, 1, 3).reshape(count, heads * width)
    return attended


def _attend_in_chunks(
    q: Tensor,
    committed: tuple[Tensor, Tensor],
    own: list[tuple[Tensor, Tensor]],
    position: Tensor,
    spans: Sequence[tuple[int, int, int, int]],
    step: int,
) -> Tensor:
    """:func:`_attend` for every sample, some roots at a time."""
    keys, values = committed
    attended, start = [], 0
    for first, rows, _, count in spans:
        end = start + max(0, count - step)
        for at in range(start, end, _CHUNK):
            some = slice(at, min(end, at + _CHUNK))
            # The last of these roots sees the rows up to its own, and none of them sees more.
            seen = slice(first, first + rows - count + some.stop - start)
            chain = [(k[some], v[some]) for k, v in own]
            attended.append(_attend(q[some], (keys[seen], values[seen]), chain, position[some]))
        start = end
    return torch.cat(attended)


def chains(draft: Eagle3Draft, embedding_VD: Tensor, packed: Packed, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Run the chains of all roots.

    Args:
        draft: the draft.
        embedding_VD: the target's embedding, which the draft shares.
        packed: the samples.
        steps: length of the chain.

    Yields:
        For each step the roots that take part, int64 [S], and the draft's output after its final norm, [S, D].
    """
    first, *later = draft.stack
    stream = draft.stream(packed.aux)
    embedded = first.input_layernorm(F.embedding(packed.next_token, embedding_VD).to(stream.dtype))
    layers: list[tuple[Layer, _FirstProjection | _Projection]] = [
        (first, _FirstProjection(draft, embedded, packed.root_row)),
        *((layer, _Projection(draft, layer)) for layer in later),
    ]
    committed: list[tuple[Tensor, Tensor]] = []
    for layer, project in layers:
        normed = layer.hidden_norm(stream)
        keys, values = project.keys_values(normed)
        committed.append((_rotated(draft, keys, packed.position), values))
        if len(committed) < len(layers):
            q = _rotated(draft, project.every_query(normed), packed.position)
            spans = [(start, rows, start, rows) for start, rows, _, _ in packed.spans]
            stream = layer.finish(stream, _attend_in_chunks(q, committed[-1], [], packed.position, spans, 0))
    roots = torch.arange(packed.root_row.shape[0], device=stream.device)
    hidden, normed = stream[packed.root_row], normed[packed.root_row]
    own: list[list[tuple[Tensor, Tensor]]] = [[] for _ in layers]
    for step in range(steps):
        if step:
            left = packed.remaining[roots] > step
            roots, hidden = roots[left], hidden[left]
            own = [[(k[left], v[left]) for k, v in of_layer] for of_layer in own]
            if not roots.numel():
                return
        row = packed.root_row[roots]
        position = packed.position[row]
        # At the first step the layers before the last one have run, and the last one's norm.
        for depth in range(0 if step else len(layers) - 1, len(layers)):
            layer, project = layers[depth]
            if step:
                normed = layer.hidden_norm(hidden)
                k, v = project.keys_values(normed, row + step)
                own[depth].append((_rotated(draft, k, position + step), v))
            q = _rotated(draft, project.queries(normed, roots + step), position + step)
            attended = _attend_in_chunks(q, committed[depth], own[depth], position, packed.spans, step)
            hidden = layer.finish(hidden, attended)
        out: Tensor = draft.norm(hidden)
        yield roots, out
        hidden = draft.handed_on(hidden, out)
