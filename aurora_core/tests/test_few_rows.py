"""Products of a few rows: the same numbers as torch's own, in the place of SGLang's, on CPUs alone."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from aurora_core.engine import few_rows


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("biased", [False, True])
def test_a_product_is_that_of_linear(rows, biased):
    torch.manual_seed(rows)
    x, weight = torch.randn(rows, 96), torch.randn(160, 96)
    bias = torch.randn(160) if biased else None
    out = few_rows.product(x, weight, bias)
    assert out.is_contiguous()
    torch.testing.assert_close(out, F.linear(x, weight, bias))


def test_rows_of_a_larger_tensor_are_a_product_too():
    weight, x = torch.randn(8, 6), torch.randn(4, 12)[:, 3:9]
    torch.testing.assert_close(few_rows.product(x, weight), F.linear(x, weight))


def original(*_args, **_named):
    return "original"


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.ones(6, 4), torch.ones(8, 4)),
        (torch.ones(0, 4), torch.ones(8, 4)),
        (torch.ones(2, 2, 4), torch.ones(8, 4)),
        (torch.ones(2, 4, dtype=torch.bfloat16), torch.ones(8, 4, dtype=torch.bfloat16)),
        (torch.ones(2, 4, dtype=torch.bfloat16), torch.ones(8, 4)),
    ],
)
def test_everything_else_is_left_to_sglang(x, weight):
    layer = SimpleNamespace(weight=weight)
    assert few_rows.linear(original, None, layer, x) == "original"
    assert few_rows.head(original, None, x, layer) == "original"


def test_a_layer_and_a_head_of_few_rows_are_taken():
    x, layer = torch.randn(4, 6), SimpleNamespace(weight=torch.randn(8, 6))
    torch.testing.assert_close(few_rows.linear(original, None, layer, x, torch.ones(8)), x @ layer.weight.T + 1)
    torch.testing.assert_close(few_rows.head(original, None, x, layer, None, out=None), x @ layer.weight.T)


def test_a_head_of_another_kind_is_left_to_sglang():
    assert few_rows.head(original, None, torch.ones(2, 4), SimpleNamespace()) == "original"
    adapted = SimpleNamespace(weight=torch.ones(8, 4), apply_lora=None)
    assert few_rows.head(original, None, torch.ones(2, 4), adapted) == "original"


def test_only_an_engine_on_a_cpu_is_hooked(monkeypatch):
    monkeypatch.delenv("SGLANG_USE_CPU_ENGINE", raising=False)
    assert few_rows.hooks() == []
    monkeypatch.setenv("SGLANG_USE_CPU_ENGINE", "1")
    assert len(few_rows.hooks()) == 2
