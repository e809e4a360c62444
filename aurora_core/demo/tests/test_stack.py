"""What the loop's processes are started with: the type that is computed in, and the target's folder."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from aurora_core.arithmetic import ComputeDtype
from aurora_core.config import DeploymentConfig
from aurora_core.config.deployment import read
from aurora_core.evaluation.identity import _PRECISE
from aurora_core.models.source import resolve
from aurora_core.models.target import Target
from aurora_demo.config import LoopConfig, load
from aurora_demo.stack import Stack, Work

EXAMPLE = Path(__file__).parents[3] / "examples" / "smollm2.yaml"


@pytest.fixture
def target(tmp_path):
    """What an engine's type follows from: the checkpoint's."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "torch_dtype": "bfloat16"}))
    return Target(tmp_path)


@pytest.mark.parametrize("configured", ["auto", "bfloat16", "float16", "float32"])
def test_what_is_configured_is_resolved_before_anything_starts(target, tmp_path, monkeypatch, configured):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"messages": [{"role": "user", "content": "hello"}]}\n')
    config = LoopConfig.model_validate(
        {
            "target": {"model": str(target.path), "dtype": configured},
            "serving": {"device": "cpu"},
            "traffic": {"prompts": str(prompts)},
        }
    )

    monkeypatch.setattr("aurora_demo.stack.ensure_first", lambda *_: SimpleNamespace(version=0))
    stack = Stack.prepared(config, target, Work(tmp_path / "work"))

    assert stack.dtype in get_args(ComputeDtype)
    assert stack.dtype in _PRECISE
    assert configured in {"auto", stack.dtype}


def test_the_trainer_finds_the_target_that_only_the_demonstration_knows_by_its_name(target, tmp_path, monkeypatch):
    monkeypatch.setattr("aurora_demo.stack.ensure_first", lambda *_: SimpleNamespace(version=0))
    monkeypatch.setattr("aurora_demo.stack.Process.aurora", lambda *_, **__: None)
    work = Work(tmp_path / "work")
    work.root.mkdir()
    stack = Stack.prepared(load(EXAMPLE), target, work)

    stack.start_trainer()

    configured = read(work.root / "train.yaml", DeploymentConfig)
    assert resolve(configured.target, tmp_path / "models", download=False).path == target.path
