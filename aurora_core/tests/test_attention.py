"""Attention merged from a fused kernel and the chain's own keys is the attention of the definition."""

import itertools

import pytest
import torch
from aurora_core.drafts.eagle3 import attention, supervision
from test_supervision import NORMS, SEVERAL, assert_same, noisy, run, trainer_of


class Plain:
    """What the fused kernel computes, score by score."""

    def _scores(self, q, keys, layout):
        groups = q.shape[1] // keys.shape[1]
        roots, rows = layout.roots.tolist(), layout.rows.tolist()
        for at, (first, end) in enumerate(itertools.pairwise(rows)):
            some = slice(roots[at], roots[at + 1])
            score = torch.einsum("rhd,nhd->hrn", q[some], keys[first:end].repeat_interleave(groups, 1))
            last = torch.arange(some.stop - some.start) + (end - first) - (some.stop - some.start)
            hidden = torch.arange(end - first)[None] > last[:, None]
            yield some, slice(first, end), (score * q.shape[2] ** -0.5).masked_fill(hidden, -torch.inf)

    def forward(self, q, keys, values, layout):
        groups = q.shape[1] // keys.shape[1]
        out, logsum = torch.empty_like(q), q.new_empty(q.shape[1], q.shape[0], dtype=torch.float32)
        for some, rows, score in self._scores(q, keys, layout):
            logsum[:, some] = score.logsumexp(-1).float()
            out[some] = torch.einsum("hrn,nhd->rhd", score.softmax(-1), values[rows].repeat_interleave(groups, 1))
        return out, logsum, None

    def backward(self, grad, q, keys, values, out, logsum, layout, _):
        dtype = q.dtype
        grad, q, keys, values, out = (x.float() for x in (grad, q, keys, values, out))
        groups, scale = q.shape[1] // keys.shape[1], q.shape[2] ** -0.5
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(keys), torch.zeros_like(values)
        delta = (grad * out).sum(-1).t()
        for some, rows, score in self._scores(q, keys, layout):
            p = (score - logsum[:, some, None]).exp()
            dp = torch.einsum("rhd,nhd->hrn", grad[some], values[rows].repeat_interleave(groups, 1))
            ds = p * (dp - delta[:, some, None]) * scale
            dq[some] = torch.einsum("hrn,nhd->rhd", ds, keys[rows].repeat_interleave(groups, 1))
            shape = (-1, keys.shape[1], groups, keys.shape[2])
            dk[rows] = torch.einsum("hrn,rhd->nhd", ds, q[some]).reshape(shape).sum(2)
            dv[rows] = torch.einsum("hrn,rhd->nhd", p, grad[some]).reshape(shape).sum(2)
        return dq.to(dtype), dk.to(dtype), dv.to(dtype)


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_merged_attention_is_the_definition_s(monkeypatch, target, make_sample, steps):
    monkeypatch.setattr(attention, "kernel_for", lambda *_: Plain())
    shapes = [(40, 9), (23, 2), (12, 11), (5, 3)]
    samples = [make_sample(str(i), length=n, prompt=p, seed=i) for i, (n, p) in enumerate(shapes)]
    assert_same(trainer_of(target), samples, steps)


@pytest.mark.parametrize("norms", [*([name] for name in NORMS), NORMS])
def test_norms_of_eagle_3_1_are_the_definition_s(monkeypatch, target, make_sample, norms):
    monkeypatch.setattr(attention, "kernel_for", lambda *_: Plain())
    samples = [make_sample("a", length=30, prompt=9), make_sample("b", length=12, prompt=2, seed=1)]
    assert_same(trainer_of(target, shape=dict.fromkeys(norms, True)), samples, 4)


@pytest.mark.parametrize("shape", SEVERAL, ids=str)
def test_several_layers_are_the_definition_s(monkeypatch, target, make_sample, shape):
    monkeypatch.setattr(attention, "kernel_for", lambda *_: Plain())
    samples = [noisy(make_sample("a", length=30, prompt=9)), noisy(make_sample("b", length=12, prompt=2, seed=1))]
    assert_same(trainer_of(target, shape=shape), samples, 4)


@pytest.mark.parametrize("prompt", [1, 9, 27])
def test_roots_that_have_ended_are_read_by_nobody(monkeypatch, target, make_sample, prompt):
    """Chains longer than some samples have roots, beside samples whose chains are complete."""
    monkeypatch.setattr(attention, "kernel_for", lambda *_: Plain())
    samples = [make_sample("long", length=29, prompt=prompt), make_sample("short", length=6, prompt=3, seed=1)]
    assert_same(trainer_of(target), samples, 7)


def test_in_bf16_within_its_rounding(monkeypatch, target, make_sample):
    monkeypatch.setattr(attention, "kernel_for", lambda *_: Plain())
    samples = [make_sample(str(i), length=20 + i, prompt=5, seed=i) for i in range(3)]
    assert_same(trainer_of(target, precision="bf16"), samples, 3, rtol=0.08, atol=2e-2)


def test_there_is_no_fused_kernel_on_a_cpu():
    assert attention.kernel_for(torch.bfloat16, torch.device("cpu"), 64) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU: FlashAttention runs on one alone")
def test_flash_attention_s_gradients_are_the_definition_s(target, make_sample):
    cuda = torch.device("cuda")
    samples = [
        make_sample(str(i), length=n, prompt=p, seed=i) for i, (n, p) in enumerate([(90, 40), (23, 2), (200, 7)])
    ]
    found, expected = (
        run(trainer_of(target, device=cuda, precision=precision), how, samples, 5)
        for precision, how in (("bf16", supervision.packed), ("fp32", supervision.plain))
    )
    assert found[0].rows == expected[0].rows
    assert found[0].loss == pytest.approx(expected[0].loss, rel=0.02)
    for name, grad in expected[1].items():
        assert float((found[1][name] - grad).norm() / (grad.norm() + 1e-9)) < 0.06, name
