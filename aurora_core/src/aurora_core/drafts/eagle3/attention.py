"""Attention of chains in memory that grows linearly with a sample: a fused kernel over the rows, merged with the chain.

A chain's query sees its sample's committed rows up to the one it starts at, and its own earlier steps. The rows' part
is left to a fused kernel, which gives its output and the logarithm of its softmax's sum; the few keys of the chain
itself are merged into both (the online softmax, Milakov and Gimelshein 2018). Backwards the kernel is called with the
*merged* output and logarithm: what it computes then, p = exp(score - logsum) and dscore = p * (dp - sum(dout * out)),
is the rows' share of the full softmax (as ring attention does, Liu et al. 2023). No score of a row is kept.

Letters in shapes: N committed rows, R roots, m earlier steps, K head width.
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


def kernel_for(dtype: torch.dtype, device: torch.device, width: int) -> Kernel | None:
    """The fused kernel for heads of this width in this arithmetic on this device, or None where there is none."""
    half = dtype in (torch.bfloat16, torch.float16)
    return Flash() if device.type == "cuda" and half and width % 8 == 0 and width <= _WIDEST else None


def _chain(tensors: Sequence[Tensor]) -> Tensor:
    """fp32 [R * kv heads, m, K] of m times [R, kv heads, K]."""
    stacked = torch.stack(list(tensors), 2)
    return stacked.flatten(0, 1).float()


class _Merged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, layout: Layout, q: Tensor, keys: Tensor, values: Tensor, *own: Tensor
    ) -> Tensor:
        steps = len(own) // 2
        rows_out, logsum, kept = kernel.forward(q, keys, values, layout)
        out, merged, weights = rows_out, logsum, []
        if steps:
            # [R * kv heads, groups, ...]: a key's queries side by side.
            of_key = (-1, q.shape[1] // keys.shape[1], q.shape[2])
            with torch.autocast(q.device.type, enabled=False):
                score = torch.bmm(q.float().view(of_key), _chain(own[:steps]).mT) * q.shape[2] ** -0.5
                mine = logsum.t().reshape(*score.shape[:2])
                total = torch.logaddexp(mine, score.logsumexp(-1))
                weight = (score - total[..., None]).exp()
                share = (mine - total).exp()[..., None]
                some = torch.baddbmm(rows_out.float().view(of_key) * share, weight, _chain(own[steps:]))
            out, merged = some.to(q.dtype).view_as(q), total.view(q.shape[:2]).t().contiguous()
            weights = [weight]
        ctx.kernel, ctx.layout, ctx.kept = kernel, layout, kept
        ctx.save_for_backward(q, keys, values, out, merged, *weights, *own)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, keys, values, out, merged, *rest = ctx.saved_tensors
        grad = grad.contiguous()
        dq, dk, dv = ctx.kernel.backward(grad, q, keys, values, out, merged, ctx.layout, ctx.kept)
        if not rest:
            return None, None, dq, dk, dv
        steps = (len(rest) - 1) // 2
        weight, chain_k, chain_v = rest[0], _chain(rest[1 : 1 + steps]), _chain(rest[1 + steps :])
        of_key, of_chain = (*weight.shape[:2], q.shape[2]), (*keys.shape[1:2], steps, q.shape[2])
        grad32 = grad.float().view(of_key)
        delta = (grad32 * out.float().view(of_key)).sum(-1, keepdim=True)
        score = weight * (torch.bmm(grad32, chain_v.mT) - delta) * q.shape[2] ** -0.5
        dq = torch.baddbmm(dq.float().view(of_key), score, chain_k).to(q.dtype).view_as(q)
        dks = torch.bmm(score.mT, q.float().view(of_key)).to(q.dtype).view(-1, *of_chain)
        dvs = torch.bmm(weight.mT, grad32).to(q.dtype).view(-1, *of_chain)
        return None, None, dq, dk, dv, *dks.unbind(2), *dvs.unbind(2)


def attend(
    kernel: Kernel,
    layout: Layout,
    q: Tensor,
    committed: tuple[Tensor, Tensor],
    own: Sequence[tuple[Tensor, Tensor]],
) -> Tensor:
    """Attention of all roots over the committed rows that each sees and over its chain's earlier steps.

    Args:
        kernel: of the rows' part.
        layout: of the samples.
        q: [R, heads, K].
        committed: keys and values of all rows, [N, kv heads, K].
        own: keys and values of each earlier step of these chains, [R, kv heads, K].

    Returns:
        [R, heads * K].
    """
    keys, values = committed
    out: Tensor = _Merged.apply(
        kernel, layout, q.contiguous(), keys.contiguous(), values.contiguous(),
        *(k for k, _ in own), *(v for _, v in own),
    )  # fmt: skip
    return out.flatten(1)
