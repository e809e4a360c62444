"""A real SGLang on this machine, with the plugin, on a fresh store; one for all tests that can share it."""

import json
import os
import sys

import pytest
import torch
from aurora_core.agent.engine import Engine
from aurora_core.child import Process
from aurora_core.config import DraftConfig, SamplesConfig, ServingConfig, TargetConfig
from aurora_core.config.strata import StrataConfig
from aurora_core.datasets.conversations import read_prompts
from aurora_core.engine import launch
from aurora_core.engine.settings import EngineSettings
from aurora_core.models.target import Target
from aurora_core.training.init import ensure_first
from aurora_core.weights.store import WeightsStore
from aurora_demo import smollm2
from engine_support import ADMIN_KEY, ROOT, TOOLS, Running
from ports import free_port
from transformers import AutoModelForCausalLM, AutoTokenizer
from workshop.cache import CACHE

from aurora_core import listening


@pytest.fixture(scope="session")
def target():
    return Target(smollm2.materialise(CACHE / "models"))


@pytest.fixture(scope="session")
def tokenizer(target):
    return AutoTokenizer.from_pretrained(target.path)


@pytest.fixture(scope="session")
def prompts(tokenizer):
    return read_prompts(ROOT / "examples" / "prompts" / "python.jsonl", tokenizer)


@pytest.fixture(scope="session")
def reference(target):
    """The target in Hugging Face's own implementation, fp32: an independent definition of its hidden states."""
    return AutoModelForCausalLM.from_pretrained(target.path, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def start(tmp_path_factory, target):
    """Starts engines, and stops them at the end."""
    started = []

    def start_(name, *, draft=None, steps=3, extra=(), api_key="", strata=None):
        work = tmp_path_factory.mktemp(name)
        serving = ServingConfig(host=listening.ALL, port=free_port(), threads=2, extra_args=extra, device="cpu")
        draft = draft or DraftConfig(draft_vocab_size=8192)
        store = WeightsStore(work / "weights")
        first = ensure_first(store, draft, target, 0).version
        base = TargetConfig(model=str(target.path))
        settings = EngineSettings(
            weights=store.root,
            version=first,
            target=target.fingerprint,
            spool=work / "spool",
            dtype=launch.engine_dtype(target.path, base, serving),
            initial_steps=steps,
            samples=SamplesConfig(sample_rate=1.0),
            strata=strata,
        )
        secrets = launch.Secrets(admin_key=ADMIN_KEY, api_key=api_key)
        command = launch.speculative(
            target.path, base, serving, draft, settings, store.folder(first), work / "engine", secrets
        )
        process = Process.start(name, command.arguments, command.environment, work / f"{name}.log")
        url = f"http://127.0.0.1:{serving.port}"
        running = Running(process, url, store, work / "spool", target, Engine(url, ADMIN_KEY))
        started.append(running)
        process.wait_until_healthy(f"{url}/health", 300)
        return running

    yield start_
    for running in started:
        running.control.close()
        running.process.stop()


@pytest.fixture(scope="session")
def engine(start):
    """Speculating in chains, with a prefill chunk and a KV cache so small that requests are chunked and retracted."""
    return start(
        "engine",
        extra=(
            *("--chunked-prefill-size", "64", "--max-total-tokens", "700", "--schedule-conservativeness", "0.01"),
            *("--chat-template", str(TOOLS), "--tool-call-parser", "hermes"),
        ),
        strata=StrataConfig(
            by="Header",
            header="x-team",
            named=({"name": "law", "values": ("law-eu",)}, {"name": "health", "values": ("clinic",), "capture": False}),
        ),
    )


def pytest_report_header():
    return f"python {sys.version.split()[0]}, {json.dumps({'cores': len(os.sched_getaffinity(0))})}"
