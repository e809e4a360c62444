"""Both libraries' products are the same, and so are their gradients."""

import pytest
import torch
import torch.nn.functional as F
from aurora_core.drafts.eagle3 import supervision
from test_supervision import assert_same, run, trainer_of

from aurora_core import products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.fixture
def onednn(monkeypatch):
    used = []

    def one(a, b, bias, *rest):
        used.append((a.shape, b.shape))
        return original(a, b, bias, *rest)

    original = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", one)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    return used


def gradients(linear, x, weight):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = linear(x, weight[:, : x.shape[-1]])
    (out * torch.arange(out.numel(), dtype=out.dtype).view_as(out).cos()).sum().backward()
    return out.detach(), x.grad, weight.grad


@pytest.mark.parametrize("shape", [(13, 24), (2, 5, 24), (1, 24), (24,)])
@pytest.mark.parametrize("columns", [24, 40])
def test_values_and_gradients_of_full_and_cut_weights(onednn, shape, columns):
    generator = torch.Generator().manual_seed(3)
    x, weight = torch.randn(shape, generator=generator), torch.randn(17, columns, generator=generator)
    expected = gradients(F.linear, x, weight)
    for found, one in zip(gradients(products.linear, x, weight), expected, strict=True):
        assert found.shape == one.shape
        assert torch.allclose(found, one, rtol=1e-4, atol=1e-5)
    assert len(onednn) == 3


def test_oneDNN_is_given_no_gaps(monkeypatch, onednn):  # noqa: N802 (its name)
    seen = []
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda a, b, *_: seen.append((a, b)) or a @ b.t())
    wide = torch.ones(8, 12)
    products.product(wide[:, 2:7], wide[:, 3:8])
    products.product(wide[:, 2:7].t(), wide.t())
    assert all(one.is_contiguous() or one.t().is_contiguous() for pair in seen for one in pair)
    assert not onednn


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_go_torch_s_way(onednn, dtype):
    x, weight = torch.ones(3, 4, dtype=dtype), torch.ones(5, 4, dtype=dtype)
    assert torch.equal(products.linear(x, weight), F.linear(x, weight))
    assert torch.equal(products.product(x, weight), x @ weight.t())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert products.linear(torch.ones(3, 4), torch.ones(5, 4)).dtype == torch.bfloat16
    assert not onednn


def test_nothing_is_multiplied_with_nothing(onednn):
    assert products.linear(torch.ones(0, 4), torch.ones(5, 4)).shape == (0, 5)
    assert not onednn


def test_a_micro_batch_is_the_same_by_either(monkeypatch, target, make_sample, onednn):
    samples = [make_sample(str(i), length=20 + i, prompt=5, seed=i) for i in range(2)]
    assert_same(trainer_of(target), samples, 3)
    assert onednn
    _, found = run(trainer_of(target), supervision.packed, samples, 3)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: False)
    _, expected = run(trainer_of(target), supervision.packed, samples, 3)
    for name, grad in expected.items():
        assert torch.allclose(found[name], grad, rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize(("onednn_takes", "faster"), [(1.0, True), (1.9, False), (2.5, False)])
def test_it_must_be_clearly_faster(monkeypatch, onednn_takes, faster):
    monkeypatch.setattr(products, "seconds", lambda _, onednn=False: onednn_takes if onednn else 2.0)
    products.onednn_is_faster.cache_clear()
    try:
        assert products.onednn_is_faster() is faster
    finally:
        products.onednn_is_faster.cache_clear()
