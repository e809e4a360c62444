"""From captured requests to a draft in the engine: what training says of it is what the engine measures."""

import os
import subprocess
import sys

import httpx
import pytest
import torch
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.evaluation.accept import generated_counts, simulate
from aurora_core.evaluation.requests import measure
from aurora_core.models import vocabulary
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from machine import patience
from ports import free_port
from workshop.waiting import wait

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1500)]
TRAIN, HELD, STEPS = 40, 12, 60


def captured(engine, prefix, count):
    def all_of_them():
        found = [sample for rid, sample in engine.samples().items() if rid.startswith(prefix)]
        return found if len(found) >= count else None

    return wait(f"{count} samples", all_of_them, patience(30), state=lambda: engine.control.state().capture)


def serves(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def trained(engine, prompts):
    """A draft trained here on requests that this engine answered, published and live."""
    engine.control.set_steps(0)
    training, held = prompts[160 : 160 + TRAIN], prompts[230 : 230 + HELD]
    assert not measure(engine.url, training, 6, 72, prefix="learn-").failures
    samples = captured(engine, "learn-", TRAIN - 2)
    draft = first_draft(DraftConfig(draft_vocab_size=8192), engine.target, 0)
    config = TrainingConfig(
        lr=1e-3, ttt_length=3, micro_batch=8, warmup_steps=10, max_grad_norm=1.0, step_weight_decay=0.8
    )
    trainer = Trainer.of(config, draft, engine.target, torch.device("cpu"))
    trainer.set_vocabulary(vocabulary.choose(generated_counts(samples, engine.target.vocab_size), 8192))
    for _ in range(STEPS):
        chosen = torch.randperm(len(samples), generator=trainer.generator)[:8].tolist()
        trainer.train_step([[samples[i] for i in chosen]])
    version = engine.store.publish(
        lambda folder: checkpoint.write(folder, draft), target_fingerprint=engine.target.fingerprint
    ).version
    engine.control.load(version)
    engine.control.set_steps(3)
    measured = measure(engine.url, held, 1, 72, prefix="held-")
    assert not measured.failures
    yield trainer, measured, captured(engine, "held-", HELD - 2), version
    engine.control.load(0)


def test_training_and_engine_agree_on_the_accept_length(trained):
    trainer, measured, held, _ = trained
    simulated = simulate(trainer.draft, trainer.teacher, held, steps=3).length
    print(f"simulated {simulated:.3f}, engine {measured.accept_length:.3f}")
    assert measured.accept_length > 1.3
    assert simulated == pytest.approx(measured.accept_length, rel=0.05)


def test_stock_sglang_loads_a_published_version(trained, engine, prompts):
    """Without the plugin, by SGLang's own command line, with the same accept length on the same prompts."""
    _, measured, _, version = trained
    port = free_port()
    command = [
        sys.executable, "-m", "sglang.launch_server", "--model-path", str(engine.target.path), "--device", "cpu",
        "--prefill-attention-backend", "intel_amx", "--decode-attention-backend", "intel_amx",
        "--dtype", engine.control.state().dtype,
        "--port", str(port), "--host", "127.0.0.1", "--mem-fraction-static", "0.9", "--max-total-tokens", "8000",
        "--disable-overlap-schedule", "--disable-cuda-graph", "--sleep-on-idle", "--speculative-algorithm", "EAGLE3",
        "--speculative-draft-model-path", str(engine.store.folder(version)), "--speculative-num-steps", "3",
        "--speculative-eagle-topk", "1", "--speculative-num-draft-tokens", "4", "--chunked-prefill-size", "64",
    ]  # fmt: skip
    environment = {**os.environ, "SGLANG_USE_CPU_ENGINE": "1", "TORCHDYNAMO_DISABLE": "1", "SGLANG_PLUGINS": "none"}
    stock = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait("stock SGLang", lambda: serves(port), patience(120), every=0.5)
        again = measure(f"http://127.0.0.1:{port}", prompts[230 : 230 + HELD], 1, 72)
    finally:
        stock.terminate()
        stock.wait(30)
    assert not again.failures
    print(f"accept length here {measured.accept_length:.3f}, stock {again.accept_length:.3f}")
    assert again.accept_length == pytest.approx(measured.accept_length, rel=0.05)
