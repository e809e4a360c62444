"""Attention of chains in memory that grows linearly with a sample: a fused kernel over the rows, merged with the chain.

A chain's query sees its sample's committed rows up to the one it starts at, and its own earlier steps. The rows' part
is left to a fused kernel, which gives its output and the logarithm of its softmax's sum; the few keys of the chain
itself are merged into both (the online softmax, Milakov and Gimelshein 2018). Backwards the kernel is called with the
*merged* output and logarithm: what it computes then, p = exp(score - logsum) and dscore = p * (dp - sum(dout * out)),
is the rows' share of the whole softmax (as ring attention does, Liu et al. 2023). No score of a row is kept.

Letters in shapes: N committed rows, R roots, S roots that are left at a step, m earlier steps, K head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

_WIDEST = 256
"""Of a head, for FlashAttention 2."""


@dataclass(frozen=True)
class Layout:
    """Where each sample's roots and rows are; a sample's last root sees all of its rows, the one before one less.

    Attributes:
        roots, rows: int32 [samples + 1], where each sample begins, and the end.
        most_roots, most_rows: of any sample.
    """

    roots: Tensor
    rows: Tensor
    most_roots: int
    most_rows: int

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int, int, int]], device: torch.device) -> "Layout":
        """From :attr:`aurora_core.samples.packed.Packed.spans`."""

        def starts(lengths: list[int]) -> Tensor:
            ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
            return ends.to(device, non_blocking=True)

        rows, roots = [rows for _, rows, _, _ in spans], [roots for *_, roots in spans]
        return cls(starts(roots), starts(rows), max(roots), max(rows))


class Kernel(Protocol):
    """Attention of every root over the committed rows that it sees, fused."""

    def forward(self, q: Tensor, keys: Tensor, values: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Any]:
        """Output [R, heads, K], logarithm of the softmax's sum float32 [heads, R], and what backward needs besides.

        Args:
            q: [R, heads, K].
            keys, values: [N, kv heads, K].
            layout: of the samples.
        """
        ...

    def backward(
        self, grad: Tensor, q: Tensor, keys: Tensor, values: Tensor, out: Tensor, logsum: Tensor, layout: Layout,
        kept: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Gradients of q, keys and values, for that output and that logarithm, which may be of a larger softmax."""
        ...


class Flash:
    """FlashAttention 2 (Dao 2023) as torch ships it, over packed samples: half precision, on a GPU."""

    def forward(self, q: Tensor, keys: Tensor, values: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Any]:
        """As in :class:`Kernel`. Causal masks are aligned to the last row of a sample."""
        out, logsum, state, unused, _ = torch.ops.aten._flash_attention_forward(  # noqa: SLF001 (no public form)
            q, keys, values, layout.roots, layout.rows, layout.most_roots, layout.most_rows, 0.0, True, False
        )
        return out, logsum, (state, unused)

    def backward(
        self, grad: Tensor, q: Tensor, keys: Tensor, values: Tensor, out: Tensor, logsum: Tensor, layout: Layout,
        kept: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """As in :class:`Kernel`."""
        dq, dk, dv = torch.ops.aten._flash_attention_backward(  # noqa: SLF001
            grad, q, keys, values, out, logsum, layout.roots, layout.rows, layout.most_roots, layout.most_rows, 0.0,
            True, *kept,
        )  # fmt: skip
        return dq, dk, dv


def kernel_for(keys: Tensor) -> Kernel | None:
    """The fused kernel for heads of this width in this arithmetic on this device, or None where there is none."""
    width = keys.shape[-1]
    half = keys.dtype in (torch.bfloat16, torch.float16)
    return Flash() if keys.device.type == "cuda" and half and width % 8 == 0 and width <= _WIDEST else None


class _Merged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        layout: Layout,
        count: int,
        roots_S: Tensor,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        *own: Tensor,
    ) -> Tensor:
        steps = len(own) // 2
        # The kernel aligns to a sample's last root, so those that are not left any more take part with nothing.
        full = q if count == q.shape[0] else q.new_zeros(count, *q.shape[1:]).index_copy(0, roots_S, q)
        rows_out, logsum, kept = kernel.forward(full, keys, values, layout)
        out, merged, weights = rows_out, logsum, []
        if steps:
            groups = q.shape[1] // keys.shape[1]
            q32 = q.float().view(q.shape[0], -1, groups, q.shape[2])
            scale = q.shape[2] ** -0.5
            chain = torch.stack([(q32 * k[:, :, None].float()).sum(-1).flatten(1) * scale for k in own[:steps]], -1)
            mine = logsum.t()[roots_S]
            total = torch.logaddexp(mine, chain.logsumexp(-1))
            weight = (chain - total[..., None]).exp()
            some = rows_out[roots_S].float() * (mine - total).exp()[..., None]
            for i, v in enumerate(own[steps:]):
                some += weight[..., i, None] * v.float().repeat_interleave(groups, 1)
            out = rows_out.index_copy(0, roots_S, some.to(q.dtype))
            merged = logsum.index_copy(1, roots_S, total.t())
            weights = [weight]
        ctx.kernel, ctx.layout, ctx.kept = kernel, layout, kept
        ctx.save_for_backward(roots_S, full, keys, values, out, merged, *weights, *own)
        return out if count == q.shape[0] and not steps else out[roots_S]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        roots_S, full, keys, values, out, merged, *rest = ctx.saved_tensors
        steps = (len(rest) - 1) // 2 if rest else 0
        count = full.shape[0]
        grad = grad.contiguous()
        grads = grad if count == grad.shape[0] else grad.new_zeros(full.shape).index_copy(0, roots_S, grad)
        dq, dk, dv = ctx.kernel.backward(grads, full, keys, values, out, merged, ctx.layout, ctx.kept)
        dq = dq if count == grad.shape[0] else dq[roots_S]
        if not steps:
            return None, None, None, None, dq, dk, dv
        weight, own_k, own_v = rest[0], rest[1 : 1 + steps], rest[1 + steps :]
        groups = full.shape[1] // keys.shape[1]
        shape = (grad.shape[0], keys.shape[1], groups, full.shape[2])
        grad32, q32 = grad.float().view(shape), full[roots_S].float().view(shape)
        delta = (grad.float() * out[roots_S].float()).sum(-1)
        scale = full.shape[2] ** -0.5
        dq32, dks, dvs = dq.float().view(shape), [], []
        for i in range(steps):
            k, v = own_k[i][:, :, None].float(), own_v[i][:, :, None].float()
            share = weight[..., i]
            score = share * ((grad32 * v).sum(-1).flatten(1) - delta) * scale
            grouped = score.view(*shape[:3], 1)
            dq32 = dq32 + grouped * k
            dks.append((grouped * q32).sum(2).to(full.dtype))
            dvs.append((share.view(*shape[:3], 1) * grad32).sum(2).to(full.dtype))
        return None, None, None, None, dq32.flatten(1, 2).to(full.dtype), dk, dv, *dks, *dvs


def attend(
    kernel: Kernel,
    layout: Layout,
    count: int,
    roots_S: Tensor,
    q: Tensor,
    committed: tuple[Tensor, Tensor],
    own: Sequence[tuple[Tensor, Tensor]],
) -> Tensor:
    """Attention of the roots that are left over the committed rows that each sees and over its chain's earlier steps.

    Args:
        kernel: of the rows' part.
        layout: of the samples.
        count: roots of all samples, R.
        roots_S: int64 [S], those that are left, in order.
        q: [S, heads, K].
        committed: keys and values of all rows, [N, kv heads, K].
        own: keys and values of each earlier step of these chains, [S, kv heads, K].

    Returns:
        [S, heads * K].
    """
    keys, values = committed
    out: Tensor = _Merged.apply(
        kernel, layout, count, roots_S, q.contiguous(), keys.contiguous(), values.contiguous(),
        *(k for k, _ in own), *(v for _, v in own),
    )  # fmt: skip
    return out.flatten(1)
