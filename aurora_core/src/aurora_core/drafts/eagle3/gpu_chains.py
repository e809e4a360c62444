"""The chains of :mod:`aurora_core.drafts.eagle3.chains` on a GPU: every root stays to the last step.

A processor gains by dropping the roots whose samples have ended. A GPU loses: it would have to say which they are to
the host, which waits for it at every step and for each earlier step's keys, and the copies are kernels of their own.
Here no shape depends on what is computed, so that the host runs ahead; the few roots that have ended continue over
tokens of other samples, and nothing reads them. Queries, keys and values of a step are one product with weights that
were converted once, and cosines come from one table.

Letters in shapes: N committed rows, R roots, D draft width, K head width.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from aurora_core.drafts.eagle3 import attention
from aurora_core.drafts.eagle3.draft import Eagle3Draft, Layer
from aurora_core.drafts.modules import rotate
from aurora_core.samples.packed import Packed


def _joined(layer: Layer, dtype: torch.dtype) -> Tensor:
    """Weights of queries, keys and values, one under the other, in the arithmetic of the pass."""
    own = layer.self_attn
    return torch.cat((own.q_proj.weight, own.k_proj.weight, own.v_proj.weight)).to(dtype)


def chains(
    draft: Eagle3Draft, embedding_VD: Tensor, packed: Packed, steps: int, kernel: attention.Kernel
) -> Iterator[Tensor]:
    """Run the chains of all roots.

    Args:
        draft: the draft.
        embedding_VD: the target's embedding, which the draft shares.
        packed: the samples.
        steps: length of the chain.
        kernel: of the rows' part of attention.

    Yields:
        For each step the draft's output after its final norm, [R, D]; without meaning for a root that has ended.
    """
    c = draft.config
    heads, kv_heads, d = c.num_attention_heads, c.num_key_value_heads, c.hidden_size
    first, *later = draft.stack
    row = packed.root_row
    stream = draft.stream(packed.aux)
    embedded = first.input_layernorm(F.embedding(packed.next_token, embedding_VD).to(stream.dtype))
    joined = _joined(first, stream.dtype)
    of_embedding = joined[:, :d]
    # What each layer makes of hidden states; the first one's makes something of embeddings too.
    layers = [(first, joined[:, d:]), *((layer, _joined(layer, stream.dtype)) for layer in later)]
    longest = max(rows for _, rows, _, _ in packed.spans)
    tables = draft.rope_tables(torch.arange(longest + steps, device=row.device)[None])
    table = torch.stack([one[0, 0] for one in tables], 1).to(stream.dtype)

    def rotated(x: Tensor, position: Tensor) -> Tensor:
        cos, sin = table.index_select(0, position)[:, :, None].unbind(1)
        return rotate(x, cos, sin)

    # Keys and values of every committed row, of which a root reads those before it; the layers before the last one have
    # an output at every such row, as the next one's keys are made of it.
    committed: list[tuple[Tensor, Tensor]] = []
    for depth, (layer, weight) in enumerate(layers):
        normed = layer.hidden_norm(stream)
        full = depth + 1 < len(layers)
        part = slice(None if full else heads * c.head_dim, None)
        made = F.linear(normed, weight[part])
        if not depth:
            made = made + F.linear(embedded, of_embedding[part])
        made = made.view(made.shape[0], -1, c.head_dim)
        turned = rotated(made[:, :-kv_heads], packed.position)
        committed.append((turned[:, -kv_heads:], made[:, -kv_heads:]))
        if full:
            spans = [(start, rows, start, rows) for start, rows, _, _ in packed.spans]
            every = attention.Layout.of(spans, row.device)
            attended = attention.attend(kernel, every, turned[:, :heads], committed[-1], [])
            stream = layer.finish(stream, attended)
    layout = attention.Layout.of(packed.spans, row.device)
    # What a root's own token gives to queries, keys and values; at step k it reads what root r + k did at first.
    of_token = F.linear(embedded.index_select(0, row), of_embedding)
    position = packed.position.index_select(0, row)
    hidden, normed = stream.index_select(0, row), normed.index_select(0, row)
    own: list[list[tuple[Tensor, Tensor]]] = [[] for _ in layers]
    for step in range(steps):
        # At the first step the layers before the last one have run, and the last one's norm.
        for depth in range(0 if step else len(layers) - 1, len(layers)):
            layer, weight = layers[depth]
            if step:
                normed = layer.hidden_norm(hidden)
            asked = F.linear(normed, weight)
            if not depth:
                asked = asked + (of_token.roll(-step, 0) if step else of_token)
            split = asked.view(-1, heads + 2 * kv_heads, c.head_dim)
            turned = rotated(split[:, : heads + kv_heads], position + step)
            if step:
                own[depth].append((turned[:, heads:], split[:, heads + kv_heads :]))
            attended = attention.attend(kernel, layout, turned[:, :heads], committed[depth], own[depth])
            hidden = layer.finish(hidden, attended)
        out: Tensor = draft.norm(hidden)
        yield out
        hidden = draft.handed_on(hidden, out)
