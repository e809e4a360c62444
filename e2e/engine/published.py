"""A draft that is given as a checkpoint: served, trained here on what was captured, swapped, and served again."""

import json
from pathlib import Path
from typing import Any

import torch
from aurora_core.arithmetic import STATE_DTYPES
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.evaluation.accept import generated_counts
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample, decode
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from in_process import SPOOL, TARGET, Ask, InProcess

DRAFT, DRAFTED = "draft", "drafted.json"
"""In an engine's folder: the checkpoint, and what it proposed in each verify cycle of each request."""
BEFORE, AFTER = "before-", "after-"
"""Requests to the draft as it was given, and to the trained one."""
STEPS, REQUESTS, TOKENS, TRAINED = 3, 6, 40, 40
ARGUMENTS = ("--skip-tokenizer-init", "--chunked-prefill-size", "64", "--max-total-tokens", "600")


def samples_of(folder: Path, states: int) -> dict[str, Sample]:
    """What was captured, by request, of a draft that is fed by so many states."""
    target = Target(folder / TARGET)
    shape: dict[str, Any] = {
        "aux_width": states * target.hidden_size, "hidden": target.hidden_size, "dtypes": STATE_DTYPES
    }  # fmt: skip
    files = (path.read_bytes() for path in (folder / SPOOL).glob("*.sample"))
    found = [decode(one, target=target.fingerprint, vocab_size=target.vocab_size, **shape) for one in files]
    return {sample.request: sample for sample in found}


def _recorded(engine: InProcess) -> list[list[int]]:
    """Where the draft tokens of each cycle will be, of requests that are answered one at a time."""
    found: list[list[int]] = []
    worker = engine.scheduler.draft_worker.draft_worker
    original = worker.draft_forward

    def forward(*arguments: Any) -> Any:
        result = original(*arguments)
        found.append(result[2].flatten().tolist())
        return result

    worker.draft_forward = forward
    return found


def given(folder: Path) -> None:
    """Serve, train, swap, serve."""
    draft = DraftConfig(checkpoint=str(folder / DRAFT), num_steps=STEPS, num_draft_tokens=STEPS + 1)
    engine = InProcess(folder, draft, ARGUMENTS)
    cycles, drafted = _recorded(engine), {}
    generator = torch.Generator().manual_seed(5)
    prompts = [
        torch.randint(10, engine.target.vocab_size, (8 + 9 * i,), generator=generator).tolist() for i in range(REQUESTS)
    ]

    def ask(name: str) -> None:
        for i, prompt in enumerate(prompts):
            cycles.clear()
            engine.ask(Ask(f"{name}{i}", prompt, {"max_new_tokens": TOKENS}))
            drafted[f"{name}{i}"] = list(cycles)

    ask(BEFORE)
    engine.wait_for_samples()
    trained = checkpoint.read(engine.store.folder(0), draft.algorithm)
    samples = list(samples_of(folder, len(trained.config.aux_layers)).values())
    config = TrainingConfig(lr=2e-3, ttt_length=STEPS, precision="fp32", warmup_steps=5)
    trainer = Trainer.of(config, trained, engine.target, torch.device("cpu"))
    counts = generated_counts(samples, engine.target.vocab_size)
    trainer.set_vocabulary(vocabulary.choose(counts, trained.config.draft_vocab_size))
    for _ in range(TRAINED):
        trainer.train_step([samples])
    engine.swap(trained)
    ask(AFTER)
    engine.finish()
    (folder / DRAFTED).write_text(json.dumps(drafted))
