"""What gpu_check measures of training: tokens per second and peak memory of optimizer steps at a wide shape."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True)
class Size:
    """The shapes.

    Attributes:
        wide: hidden size of the target.
        vocabulary: of it.
        head: width of its heads.
        cases: samples of a step, tokens of each, and the share that is a prompt.
        steps: unrolled.
        repeats: steps that are timed, after two that warm up.
    """

    wide: int = 4096
    vocabulary: int = 128_256
    head: int = 128
    cases: tuple[tuple[int, int, float], ...] = (
        (8, 256, 0.4),
        (1, 2048, 0.4),
        (1, 8192, 0.4),
        (1, 8192, 0.8),
        (1, 32768, 0.4),
    )
    steps: int = 7
    repeats: int = 5


SMALL = Size(wide=64, vocabulary=1024, head=16, cases=((2, 64, 0.4), (1, 128, 0.8)))


def wide(folder: Path, size: Size, device: torch.device) -> Target:
    """A target of random weights with the widths of a large one, of which training reads head and embedding alone."""
    config = LlamaConfig(
        hidden_size=size.wide,
        intermediate_size=size.wide * 7 // 2,
        num_hidden_layers=4,
        num_attention_heads=size.wide // size.head,
        num_key_value_heads=max(1, size.wide // size.head // 4),
        vocab_size=size.vocabulary,
        max_position_embeddings=32768,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model = model.to(torch.bfloat16).to_empty(device=device)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    model.save_pretrained(folder)
    return Target(folder)


def noise(trainer: Trainer, target: Target, length: int, share: float) -> Sample:
    """A sample of random states whose tokens the draft knows."""
    width, ids = target.hidden_size, trainer.draft.ids
    tokens = ids[torch.randint(ids.numel(), (length + 1,))]
    states = torch.randn(length, 4 * width, dtype=torch.bfloat16)
    return Sample("wide", tokens, int(share * length), states[:, : 3 * width], states[:, 3 * width :], 0, "")


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed(trainer: Trainer, samples: list[Sample], size: Size, device: torch.device) -> dict[str, Any]:
    """Tokens per second, seconds of each step, and the most memory that was allocated."""
    for _ in range(2):
        trainer.train_step([samples])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    synchronize(device)
    seconds = []
    for _ in range(size.repeats):
        began = time.perf_counter()
        trainer.train_step([samples])
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    tokens = sum(sample.aux.shape[0] for sample in samples)
    return {
        "tokens_per_second": round(tokens / statistics.median(seconds), 1),
        "ms": [round(1e3 * each, 1) for each in seconds],
        "peak_gib": peak and round(peak, 2),
        "precision": str(trainer.dtype),
    }


KINDS = {
    "attention": ("flash", "fmha"),
    "matrix products": ("gemm", "cutlass", "nvjet", "splitK"),
    "copies and conversions": ("copy", "Memcpy", "Memset", "cat", "index", "gather", "roll"),
    "optimizer": ("Adam", "multi_tensor"),
}
"""What kernels of a step are counted as, by parts of their names, the first that fits; all others are element-wise."""


def kind(kernel: str) -> str:
    """Which of :data:`KINDS` a kernel is."""
    return next((name for name, parts in KINDS.items() if any(part in kernel for part in parts)), "element-wise")


def profile(trainer: Trainer, samples: list[Sample]) -> dict[str, Any]:
    """What one step has the GPU do: kernels, milliseconds that it computes and that it waits, and shares by kind."""
    with torch.profiler.profile() as found:
        trainer.train_step([samples])
        torch.cuda.synchronize()
    kernels = [one for one in found.events() or () if one.device_type.name == "CUDA"]
    spent: Counter[str] = Counter()
    for one in kernels:
        spent[kind(one.name)] += one.time_range.elapsed_us()
    busy = sum(spent.values())
    span = max(one.time_range.end for one in kernels) - min(one.time_range.start for one in kernels)
    shares = {name: round(each / busy, 3) for name, each in spent.most_common()}
    return {
        "kernels": len(kernels),
        "busy_ms": round(busy / 1e3, 1),
        "span_ms": round(span / 1e3, 1),
        "of_busy": shares,
    }


def training(folder: Path, size: Size, device: torch.device, free: Callable[[], None]) -> dict[str, Any]:
    """Optimizer steps of random samples, once whatever else computes on the device is ended by ``free``."""
    free()
    out: dict[str, Any] = {}
    target = wide(folder, size, device)
    draft = DraftConfig(draft_vocab_size=min(32_000, size.vocabulary // 2))
    trainer = Trainer.of(TrainingConfig(ttt_length=size.steps), first_draft(draft, target, 0), target, device)
    for count, length, share in size.cases:
        samples = [noise(trainer, target, length, share) for _ in range(count)]
        found = timed(trainer, samples, size, device)
        if device.type == "cuda":
            found["profile"] = profile(trainer, samples)
        out[f"{count}x{length} prompt {share:.0%}"] = found
    return out
