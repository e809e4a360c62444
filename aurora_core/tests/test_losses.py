import pytest
import torch
from aurora_core.losses import fused, reference
from aurora_core.losses.reference import forward_kl, target_rows


def setup(n=37, width=16, vocab=50, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(n, width, generator=generator).to(dtype).requires_grad_()
    head = torch.randn(vocab, width, generator=generator).requires_grad_()
    target = target_rows(
        torch.randn(n, width, generator=generator).to(dtype), torch.randn(vocab, width, generator=generator)
    )
    return hidden, head, target


def test_the_reference_is_the_definition():
    hidden, head, target = setup()
    q = (hidden @ head.T).softmax(-1)
    expected = (target.p * (target.p.log() - q.log())).sum()
    total, loss, prediction = forward_kl(hidden, head, target, torch.arange(37), torch.ones(37))
    assert torch.allclose(total, expected, rtol=1e-5)
    assert torch.allclose(loss.sum(), expected, rtol=1e-5)
    assert torch.equal(prediction, q.argmax(-1))


def test_a_draft_that_is_the_target_has_no_loss():
    hidden, head, _ = setup()
    same = target_rows(hidden.detach(), head.detach())
    loss, *_ = forward_kl(hidden, head, same, torch.arange(37), torch.ones(37))
    assert abs(float(loss.detach())) < 1e-4


@pytest.mark.parametrize("chunk", [1, 64, 1 << 23])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_is_the_reference(monkeypatch, chunk, dtype):
    monkeypatch.setattr(fused, "CHUNK_ELEMENTS", {"cpu": chunk})
    generator = torch.Generator().manual_seed(4)
    row = torch.randint(37, (53,), generator=generator)
    weight = torch.rand(53, generator=generator)
    results = []
    for implementation in (reference.forward_kl, fused.forward_kl):
        hidden, head, target = setup(dtype=dtype)
        many = hidden.detach()[row].flip(0).requires_grad_()
        total, loss, prediction = implementation(many, head, target, row, weight)
        (total * 0.5).backward()
        results.append((total.detach(), loss, prediction, many.grad, head.grad))
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 5e-2, "atol": 5e-2}
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a.double(), b.double(), **tolerance)


def test_fused_gradients_are_right_by_finite_differences():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    head = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    target = target_rows(torch.randn(3, 4, generator=generator), torch.randn(5, 4, generator=generator))
    row, weight = torch.tensor([2, 0, 1]), torch.tensor([1.0, 0.5, 0.25])

    def loss(h, w):
        return fused.forward_kl(h, w, target, row, weight)[0]

    assert torch.autograd.gradcheck(loss, (hidden, head), eps=1e-3, atol=2e-2, rtol=2e-2)


def test_no_rows_is_no_loss():
    hidden, head, _ = setup()
    empty = target_rows(torch.zeros(0, 16), head.detach())
    none = torch.empty(0, dtype=torch.int64)
    total, loss, prediction = fused.forward_kl(hidden[:0], head, empty, none, torch.empty(0))
    total.backward()
    assert float(total.detach()) == 0.0
    assert loss.numel() == prediction.numel() == 0
    assert float(head.grad.abs().sum()) == 0.0
