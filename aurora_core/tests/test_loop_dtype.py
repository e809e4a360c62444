"""The loop compares answers in the type that its engine computes in."""

from typing import get_args

import pytest
from aurora_core.arithmetic import ComputeDtype
from aurora_core.config import LoopConfig
from aurora_core.evaluation.identity import _PRECISE
from aurora_core.loop.stack import Stack, Work


@pytest.mark.parametrize("configured", ["auto", "bfloat16", "float16", "float32"])
def test_what_is_configured_is_resolved_before_anything_starts(target, tmp_path, configured):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"messages": [{"role": "user", "content": "hello"}]}\n')
    config = LoopConfig.model_validate(
        {
            "target": {"model": str(target.path), "dtype": configured},
            "serving": {"device": "cpu"},
            "traffic": {"prompts": str(prompts)},
        }
    )

    stack = Stack(config, target, Work(tmp_path / "work"), live=0)

    assert stack.dtype in get_args(ComputeDtype)
    assert stack.dtype in _PRECISE
    assert configured in {"auto", stack.dtype}
