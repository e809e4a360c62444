"""What is computed in follows the hardware, and machines of both kinds understand each other."""

import os
import subprocess
import sys
from collections import deque
from dataclasses import replace

import pytest
import torch
from aurora_core.arithmetic import STATE_DTYPES, compute_dtype, has_bf16_units, short_name, training_precision
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.samples.pool import Pool
from aurora_core.samples.schema import decode, encode
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint

CPU, GPU = torch.device("cpu"), torch.device("cuda")
AVX2_ONLY = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


@pytest.mark.parametrize("units", [True, False])
def test_auto_is_bf16_only_where_it_is_fast(monkeypatch, units):
    monkeypatch.setattr("aurora_core.arithmetic.has_bf16_units", lambda _: units)
    monkeypatch.setattr("aurora_core.arithmetic._multiplies_faster", lambda: True)
    assert compute_dtype("auto", CPU, "bfloat16") == ("bfloat16" if units else "float32")
    assert compute_dtype("auto", CPU, "float16") == ("bfloat16" if units else "float32")
    assert compute_dtype("auto", GPU, "float16") == "float16"
    assert training_precision("auto", CPU) == (torch.bfloat16 if units else torch.float32)


def test_training_takes_fp32_where_bf16_units_are_slower_than_it_and_serving_does_not(monkeypatch):
    monkeypatch.setattr("aurora_core.arithmetic.has_bf16_units", lambda _: True)
    monkeypatch.setattr("aurora_core.arithmetic._multiplies_faster", lambda: False)
    assert training_precision("auto", CPU) == torch.float32
    assert training_precision("auto", GPU) == torch.bfloat16
    assert compute_dtype("auto", CPU, "bfloat16") == "bfloat16"


@pytest.mark.parametrize("units", [True, False])
def test_what_is_configured_is_what_is_computed_in(monkeypatch, units):
    monkeypatch.setattr("aurora_core.arithmetic.has_bf16_units", lambda _: units)
    for name in ("bfloat16", "float16", "float32"):
        assert compute_dtype(name, CPU, "bfloat16") == name
    assert training_precision("bf16", CPU) == torch.bfloat16
    assert training_precision("fp32", CPU) == torch.float32


PROBE = """
import torch
from aurora_core import products
from aurora_core.arithmetic import compute_dtype, training_precision
cpu = torch.device("cpu")
chosen = training_precision("auto", cpu)
other = torch.float32 if chosen == torch.bfloat16 else torch.bfloat16
onednn = {torch.float32: products.onednn_is_faster(), torch.bfloat16: False}
best = {dtype: min(products.seconds(dtype, onednn=onednn[dtype]) for _ in range(9)) for dtype in (chosen, other)}
# Near a tie either may be ahead when it is measured again.
print(compute_dtype("auto", cpu, "bfloat16"), chosen, best[chosen] < 1.3 * best[other])
"""


def test_a_cpu_without_bf16_units_computes_in_fp32():
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env={**os.environ, **AVX2_ONLY}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["float32", "torch.float32", "True"]


def test_the_choice_here_is_not_the_slow_one():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "True"
    assert done.stdout.split()[0] == ("bfloat16" if has_bf16_units(CPU) else "float32")


class Arrived:
    """A delivery in memory."""

    age_seconds = 0.0

    def __init__(self, name, payload):
        self.name, self._payload = name, payload

    def read(self):
        return self._payload

    def done(self):
        pass


class Source:
    def __init__(self, *payloads):
        self._waiting = deque(Arrived(str(i), p) for i, p in enumerate(payloads))

    def poll(self):
        while self._waiting:
            yield self._waiting.popleft()


def test_a_pool_takes_samples_of_engines_that_compute_differently(target, make_sample):
    def sample(name, dtype):
        made = make_sample(name, seed=len(name))
        return replace(made, aux=made.aux.to(dtype), last=made.last.to(dtype))

    made = [sample("a" * (i + 1), dtype) for i, dtype in enumerate(STATE_DTYPES)]

    def read(payload):
        width = made[0].aux.shape[1]
        return decode(payload, target=target.fingerprint, vocab_size=target.vocab_size, aux_width=width,
                      hidden=target.hidden_size, dtypes=STATE_DTYPES)  # fmt: skip

    pool = Pool(Source(*map(encode, made)), read, size=10, heldout_size=1, heldout_fraction=1e-9)
    assert pool.refill() == len(STATE_DTYPES)
    config = TrainingConfig(lr=1e-3, ttt_length=2, precision="fp32")
    trainer = Trainer.of(config, first_draft(DraftConfig(draft_vocab_size=48), target, 0), target, CPU)
    result = trainer.train_step([[entry.sample for entry in pool.training]])
    assert result.taken
    assert result.tokens > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_version_is_the_same_draft_on_either_kind_of_machine(target, tmp_path, precision):
    trainer = Trainer.of(
        TrainingConfig(precision=precision), first_draft(DraftConfig(draft_vocab_size=48), target, 0), target, CPU
    )
    checkpoint.write(tmp_path, trainer.draft)
    read = checkpoint.read(tmp_path, "EAGLE3")
    for name, tensor in trainer.draft.state_dict().items():
        kept = tensor.to(torch.bfloat16).to(tensor.dtype) if tensor.is_floating_point() else tensor
        assert torch.equal(read.state_dict()[name], kept), name


def test_dtypes_have_the_names_that_configurations_use():
    assert [short_name(dtype) for dtype in STATE_DTYPES] == ["bfloat16", "float16", "float32"]
