"""EAGLE3 in the engine: what SGLang is started with, and what a swap copies."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aurora_core.config.parts import DraftConfig
from aurora_core.drafts.family import Launch
from aurora_core.drafts.loading import load_parameters


def launch(config: DraftConfig, folder: Path) -> Launch:
    """Steps and branches.

    With top-k 1 the engine prepares draft steps 0 too, so that speculation can be switched off and on while it
    runs; with a token tree SGLang cannot, and the steps stay as they are.
    """
    arguments = (
        "--speculative-num-steps", str(config.num_steps),
        "--speculative-eagle-topk", str(config.top_k),
        "--speculative-num-draft-tokens", str(config.num_draft_tokens),
    )  # fmt: skip
    # With drafting off, keeping the draft's KV warm would slow serving below target-only.
    environment = {"SGLANG_SPEC_SKIP_ZERO_STEP_DRAFT_EXTEND": "1"}
    if config.top_k != 1:
        return Launch(arguments, environment)
    steps = folder / "steps.json"
    return Launch(
        (*arguments, "--speculative-adaptive", "--speculative-adaptive-config", str(steps)),
        environment,
        {steps: json.dumps({"1": {"candidate_steps": [0, config.num_steps]}})},
    )


def load(draft_worker: Any, tensors: Mapping[str, Tensor]) -> None:
    """Load weights, and the draft-to-target map that the worker keeps a copy of."""
    load_parameters(draft_worker, tensors)
    inner = getattr(draft_worker, "draft_worker", draft_worker)
    hot = inner.hot_token_id
    if hot is not None:
        hot.copy_(inner.draft_runner.model.hot_token_id)
