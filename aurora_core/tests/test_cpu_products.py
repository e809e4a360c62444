"""The engine's products on a CPU: the same numbers as torch's own, in the place of SGLang's."""

import inspect
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from aurora_core.engine import cpu_products
from sglang.srt.layers.linear import LinearBase
from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod
from sglang.srt.model_executor.model_runner_components.weight_updater import WeightUpdater
from sglang.srt.model_loader.loader import DefaultModelLoader
from torch import nn

pytestmark = [pytest.mark.sglang, pytest.mark.filterwarnings("ignore")]

BF16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()


class Layer(LinearBase):
    """One of SGLang's linear layers, without its parallel set-up."""

    def __init__(self, out, width, dtype):
        nn.Module.__init__(self)
        self.quant_method = UnquantizedLinearMethod()
        self.weight = nn.Parameter(torch.randn(out, width).to(dtype), requires_grad=False)


class Model(nn.Module):
    def __init__(self, dtype=torch.float32, *, tied=False):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = Layer(96, 64, dtype), Layer(64, 96, dtype)
        self.embed_tokens = nn.Embedding(128, 64, dtype=dtype)
        self.lm_head = self.embed_tokens if tied else nn.Embedding(128, 64, dtype=dtype)
        self.other = nn.Linear(8, 8)


@pytest.fixture(params=[torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.skipif(not BF16, reason="bf16"))])
def model(request):
    made = Model(request.param)
    assert cpu_products.pack(made) == made.up.weight.nbytes + made.down.weight.nbytes + made.lm_head.weight.nbytes
    return made


@pytest.mark.parametrize("rows", [1, 2, 5, 8, 70])
@pytest.mark.parametrize("biased", [False, True])
def test_a_packed_product_is_that_of_linear(model, rows, biased):
    dtype = model.up.weight.dtype
    x = torch.randn(rows, 64).to(dtype)
    bias = torch.randn(96).to(dtype) if biased else None
    out = cpu_products.linear(original, None, model.up, x, bias)
    assert out.is_contiguous()
    torch.testing.assert_close(out, F.linear(x, model.up.weight, bias))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("biased", [False, True])
def test_a_product_of_few_rows_with_weights_as_they_are_is_that_of_linear(rows, biased):
    layer, x = Layer(160, 96, torch.float32), torch.randn(rows, 96)
    bias = torch.randn(160) if biased else None
    out = cpu_products.linear(original, None, layer, x, bias)
    assert out.is_contiguous()
    torch.testing.assert_close(out, F.linear(x, layer.weight, bias))


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_a_larger_tensor_are_a_product_too(packed):
    made, x = Model(), torch.randn(4, 128)[:, 3:67]
    if packed:
        cpu_products.pack(made)
    torch.testing.assert_close(cpu_products.linear(original, None, made.up, x), F.linear(x, made.up.weight))


def test_a_head_is_taken_tied_or_not(model):
    states = torch.randn(3, 64).to(model.up.weight.dtype)
    out = cpu_products.head(original, None, states, model.lm_head, None, out=None)
    torch.testing.assert_close(out, states @ model.lm_head.weight.T)
    tied = Model(tied=True)
    cpu_products.pack(tied)
    assert cpu_products.head(original, None, torch.randn(9, 64), tied.embed_tokens) is not original()


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
    assert cpu_products.linear(original, None, layer, x) == "original"
    assert cpu_products.head(original, None, x, layer) == "original"


def test_a_head_of_another_kind_is_left_to_sglang():
    states, weight = torch.ones(2, 4), torch.ones(8, 4)
    assert cpu_products.head(original, None, states, SimpleNamespace()) == "original"
    assert cpu_products.head(original, None, states, SimpleNamespace(weight=weight, apply_lora=None)) == "original"
    biased = cpu_products.head(original, None, states, SimpleNamespace(weight=weight), torch.ones(8))
    assert biased == "original"


@pytest.mark.parametrize("by", ["session", "ipc"])
def test_what_is_computed_after_a_change_of_weights_has_the_new_ones(model, by):
    model.up.weight.data.copy_(torch.full((96, 64), 2.0))
    if by == "session":
        cpu_products.loaded(None, model, torch.device("cpu"))
    else:
        cpu_products.changed(None, SimpleNamespace(get_model=lambda: model))
    x = torch.ones(2, 64, dtype=model.up.weight.dtype)
    out = cpu_products.linear(original, None, model.up, x)
    torch.testing.assert_close(out, torch.full((2, 96), 128.0, dtype=x.dtype))
    assert "get_model" in inspect.signature(WeightUpdater).parameters


def test_a_weight_that_takes_the_place_of_another_is_the_one_that_counts(model):
    dtype = model.lm_head.weight.dtype
    model.lm_head.weight = nn.Parameter(torch.zeros(128, 64, dtype=dtype), requires_grad=False)
    states = torch.ones(2, 64, dtype=dtype)
    out = cpu_products.head(lambda _, states, head: F.linear(states, head.weight), None, states, model.lm_head)
    assert not out.any()


def test_swaps_and_loads_end_with_the_step_that_is_hooked():
    step = "DefaultModelLoader.postprocess_weights("
    assert step in inspect.getsource(WeightUpdater.end_weight_update)
    assert step in inspect.getsource(DefaultModelLoader.load_model) + inspect.getsource(
        DefaultModelLoader.load_weights_and_postprocess
    )


def test_weights_that_sglang_packed_already_and_large_ones_are_left(monkeypatch, caplog):
    made = Model()
    made.up.use_intel_amx_backend = True
    assert cpu_products.pack(made) == made.down.weight.nbytes + made.lm_head.weight.nbytes
    assert not hasattr(made.up, "aurora_packed")
    large = Model()
    monkeypatch.setattr(cpu_products, "MOST_BYTES", 1000)
    with caplog.at_level("INFO"):
        assert cpu_products.pack(large) == 0
    assert "stay in one order" in caplog.text
    assert not hasattr(large.up, "aurora_packed")


def test_weights_that_cannot_be_packed_are_served_as_they_are(monkeypatch, caplog):
    made = Model()
    monkeypatch.setattr(cpu_products, "_packable", lambda layer: layer.no_such_attribute)
    cpu_products.loaded(None, made, torch.device("cpu"))
    assert "stay in one order" in caplog.text
    assert cpu_products.linear(original, None, made.up, torch.ones(9, 64)) == "original"


def test_only_an_engine_on_a_cpu_is_hooked(monkeypatch):
    monkeypatch.delenv("SGLANG_USE_CPU_ENGINE", raising=False)
    assert cpu_products.hooks() == []
    monkeypatch.setenv("SGLANG_USE_CPU_ENGINE", "1")
    assert len(cpu_products.hooks()) == 4


def test_without_onednn_nothing_is_hooked(monkeypatch):
    monkeypatch.setenv("SGLANG_USE_CPU_ENGINE", "1")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert cpu_products.hooks() == []
