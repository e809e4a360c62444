"""What only an accelerator can show, in one run of ten minutes: capture, its cost, swaps, day-0, training speed.

Needs a Python environment with this project, SGLang and a torch that sees the accelerator: `make gpu-check` with
``PYTHON`` (default python3). ``--small`` is the same on a CPU, to try the script itself. Each stage is measured apart:
one that fails is reported with its error, and the next one runs. The last line is one JSON object; ``--json`` writes
the same to a file after each stage, so that a run that is cut off loses one stage.

1. *exact*: hidden states of captured requests against transformers, row by row, CUDA graphs and overlap scheduling on.
2. *capture*: tokens per second at sample rates 1.0 and 0.05 over those at 0, on decode-heavy and prefill-heavy traffic.
3. *swap*: how long decoding waits for a swap under load.
4. *day-0*: from no draft to an accept length, trained on live traffic; tokens per second over target-only.
5. *training*: tokens per second and peak memory of an optimizer step at a wide shape, 2,048 and 8,192 tokens.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from aurora_core.arithmetic import STATE_DTYPES
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.evaluation.requests import Stream, measure
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample, decode
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from aurora_demo.stack import Stack
from bench import ROOT, heading, stack
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

CAPTURED = "gpu-check-"
"""Requests whose ids begin so are captured."""


@dataclass(frozen=True)
class Size:
    """How much of each stage is run.

    Attributes:
        exact: requests that are compared.
        blocks: pairs of blocks of each capture rate.
        requests: of the blocks that warm up.
        block_seconds: what the other blocks last, about.
        concurrency: requests at a time.
        decode, prefill: prompts repeated and tokens generated, of the two kinds of traffic.
        swaps: how many.
        learn_seconds: of day-0.
        wide: hidden size of the training stage's target.
        vocabulary: of it.
        head: width of its heads.
        cases: of training: samples of a step, tokens of each, and the share that is a prompt.
        steps: unrolled.
    """

    exact: int = 24
    blocks: int = 5
    requests: int = 128
    block_seconds: float = 3
    concurrency: int = 32
    decode: tuple[int, int] = (1, 192)
    prefill: tuple[int, int] = (12, 8)
    swaps: int = 100
    learn_seconds: float = 150
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


SMALL = Size(
    exact=3,
    blocks=1,
    requests=4,
    block_seconds=1,
    concurrency=2,
    decode=(1, 24),
    prefill=(2, 4),
    swaps=4,
    learn_seconds=20,
    wide=64,
    vocabulary=1024,
    head=16,
    cases=((2, 64, 0.4), (1, 128, 0.8)),
)


def samples_of(running: Stack) -> dict[str, Sample]:
    """What the engine captured so far, by request."""
    found = {}
    for path in sorted(running.work.spool.glob("*.sample")):
        sample = decode(
            path.read_bytes(),
            target=running.target.fingerprint,
            vocab_size=running.target.vocab_size,
            aux_width=3 * running.target.hidden_size,
            hidden=running.target.hidden_size,
            dtypes=STATE_DTYPES,
        )
        found[sample.request] = sample
    return found


@torch.no_grad()
def exact(running: Stack, prompts: Sequence[str], size: Size, device: torch.device) -> dict[str, Any]:
    """Captured rows against transformers' on the same device, both in the engine's type."""
    running.agent.set_sample_rate(1.0)
    answers = measure(running.url, prompts[: size.exact], size.concurrency, 64, prefix=CAPTURED).answers
    deadline = time.monotonic() + 60
    while len(samples := samples_of(running)) < len(answers) and time.monotonic() < deadline:
        time.sleep(0.2)
    model = (
        AutoModelForCausalLM.from_pretrained(running.target.path, dtype=getattr(torch, running.dtype)).to(device).eval()
    )
    layers = first_draft(running.config.draft, running.target, 0).config.aux_layers
    worst, agree, rows = 1.0, 0, 0
    means: list[float] = []
    for sample in samples.values():
        hidden = model(sample.tokens[None, :-1].to(device), output_hidden_states=True).hidden_states
        # transformers numbers the embedding 0; the last one is after the norm.
        aux = torch.cat([hidden[layer + 1][0] for layer in layers], -1)
        for got, want in ((sample.aux, aux), (sample.last, hidden[-1][0])):
            similarity = F.cosine_similarity(got.to(device).float(), want.float(), dim=-1)
            worst, means = min(worst, float(similarity.min())), [*means, float(similarity.mean())]
        named = model.lm_head(sample.last.to(device, hidden[-1].dtype))[sample.prompt_tokens - 1 :].argmax(-1).cpu()
        agree += int((named == sample.tokens[sample.prompt_tokens :]).sum())
        rows += named.numel()
    state = running.agent.live()
    return {
        "requests": len(answers), "samples": len(samples), "cosine_min": round(worst, 5),
        "cosine_mean": round(statistics.mean(means), 6), "next_token_agrees": round(agree / rows, 4),
        "dropped": dict(state.capture.dropped), "skipped_passes": dict(state.capture.mismatches),
        "errors": dict(state.errors),
    }  # fmt: skip


def error(values: Sequence[float]) -> float | None:
    """Standard error of a mean; None where there is no spread to know it from."""
    return round(statistics.stdev(values) / len(values) ** 0.5, 4) if len(values) > 1 else None


def capture(running: Stack, prompts: Sequence[str], size: Size) -> dict[str, Any]:
    """Capture's cost: blocks of each rate beside blocks without, their order turned around each time.

    The first pair of each kind of traffic warms up and counts for nothing: it compiles kernels, and says how many
    requests a block should have.
    """
    out: dict[str, Any] = {}
    for kind, (repeat, tokens) in (("decode_heavy", size.decode), ("prefill_heavy", size.prefill)):
        count = size.requests
        for rate in (1.0, 0.05):
            ratios = []
            for block in range(size.blocks + 1):
                texts = ["\n".join([prompts[(i + k) % len(prompts)] for k in range(repeat)]) for i in range(count)]
                speeds = {}
                for now in (0.0, rate) if block % 2 == 0 else (rate, 0.0):
                    running.agent.set_sample_rate(now)
                    # A text of its own for each block: a cached prefix would leave nothing to prefill.
                    fresh = [f"{block}-{rate}-{now} {text}" for text in texts]
                    began = time.monotonic()
                    found = measure(running.url, fresh, size.concurrency, tokens, prefix=CAPTURED)
                    if found.failures:
                        raise RuntimeError(found.failures[0])
                    speeds[now] = len(texts) / (time.monotonic() - began)
                ratios.append(speeds[rate] / speeds[0.0])
                count = count if block else max(size.concurrency, round(speeds[0.0] * size.block_seconds))
            ratios = ratios[1:]
            out[f"{kind}_at_{rate}"] = {
                "requests_of_a_block": count,
                "on_over_off": round(statistics.mean(ratios), 4),
                "standard_error": error(ratios),
                "blocks": [round(r, 4) for r in ratios],
            }
    running.agent.set_sample_rate(1.0)
    return out


def swap(running: Stack, prompts: Sequence[str], size: Size) -> dict[str, Any]:
    """Stalls of swaps between two drafts, as the engine measures them."""
    other = first_draft(running.config.draft, running.target, seed=1)
    version = running.store.publish(
        lambda folder: checkpoint.write(folder, other), target_fingerprint=running.target.fingerprint
    ).version
    traffic = Stream(running.url, prompts, size.concurrency, 128)
    stalls = sorted(1e3 * running.load(version if i % 2 == 0 else 0) for i in range(size.swaps))
    record = traffic.stop()
    return {"swaps": len(stalls), "ms_median": round(statistics.median(stalls), 2), "ms_max": round(stalls[-1], 2),
            "requests": len(record.answers), "failed": len(record.failures)}  # fmt: skip


def day_zero(running: Stack, prompts: Sequence[str], size: Size) -> dict[str, Any]:
    """Train on live traffic, load what is published, and measure on prompts that were not served."""
    heldout, served = prompts[:16], prompts[16:]
    running.set_steps(0)
    plain = measure(running.url, heldout, 4, 128)
    running.start_trainer()
    traffic = Stream(running.url, served, size.concurrency, 128)
    began, loaded = time.monotonic(), []
    while time.monotonic() - began < size.learn_seconds:
        time.sleep(1)
        running.check()
        newest = running.store.versions()[-1]
        if newest != running.live:
            running.load(newest)
            running.set_steps(running.config.draft.num_steps)
            loaded.append(round(time.monotonic() - began, 1))
    record = traffic.stop()
    running.stop("trainer")
    drafted = measure(running.url, heldout, 4, 128)
    status = running.training()
    gain = drafted.tokens_per_second / plain.tokens_per_second
    return {
        "seconds": size.learn_seconds, "versions_loaded_at": loaded, "steps": status.step, "tokens": status.tokens,
        "accept_length": round(drafted.accept_length, 3), "over_target_only": round(gain, 3),
        "requests": len(record.answers), "failed": len(record.failures),
    }  # fmt: skip


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


def training(folder: Path, size: Size, device: torch.device) -> dict[str, Any]:
    """Optimizer steps of random samples: tokens per second, and the most memory that was allocated."""
    out: dict[str, Any] = {}
    target = wide(folder, size, device)
    draft = DraftConfig(draft_vocab_size=min(32_000, size.vocabulary // 2))
    for count, length, share in size.cases:
        trainer = Trainer(TrainingConfig(ttt_length=size.steps), first_draft(draft, target, 0), target, device)
        samples = [noise(trainer, target, length, share) for _ in range(count)]
        trainer.train_step([samples])
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            trainer.train_step([samples])
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
        out[f"{count}x{length} prompt {share:.0%}"] = {
            "tokens_per_second": round(count * length / statistics.median(seconds), 1),
                            "peak_gib": peak and round(peak, 2), "precision": str(trainer.dtype)}  # fmt: skip
    return out


def main() -> None:
    """Run every stage; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "examples" / "smollm2.yaml")
    parser.add_argument("--small", action="store_true", help="as little as tries the script itself, on any machine")
    parser.add_argument("--work", type=Path, help="folder of weights, samples and logs; a temporary one by default")
    parser.add_argument("--stages", nargs="*", default=["exact", "capture", "swap", "day_zero", "training"])
    parser.add_argument("--learn-seconds", type=float, help="of the stage day_zero")
    parser.add_argument("--json", type=Path, help="file that holds what was found so far, rewritten after each stage")
    options = parser.parse_args()
    size = SMALL if options.small else Size()
    size = replace(size, learn_seconds=options.learn_seconds or size.learn_seconds)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.small:
        parser.error("torch sees no accelerator here: --small tries the script itself on a CPU")
    found: dict[str, Any] = {**heading("gpu_check"), "device": str(device)}
    if device.type == "cuda":
        found["device"] = torch.cuda.get_device_name()
    began = time.monotonic()
    with stack(options.config, work=options.work) as (config, running, prompts):
        if set(options.stages) - {"training"}:
            running.start_engine()
            running.start_agent()
            running.set_steps(config.draft.num_steps)
            found["engine_seconds"] = round(time.monotonic() - began, 1)
        stages: dict[str, Callable[[], dict[str, Any]]] = {
            "exact": lambda: exact(running, prompts, size, device),
            "capture": lambda: capture(running, prompts, size),
            "swap": lambda: swap(running, prompts, size),
            "day_zero": lambda: day_zero(running, prompts, size),
            "training": lambda: training(running.work.root / "wide", size, device),
        }
        for name in options.stages:
            started = time.monotonic()
            try:
                found[name] = stages[name]()
            except Exception as error:  # noqa: BLE001 (whatever it is, it is reported, and the others are measured)
                found[name] = {"error": f"{type(error).__name__}: {error}"[:800]}
            found[name]["seconds_of_stage"] = round(time.monotonic() - started, 1)
            print(f"{name}: {json.dumps(found[name])}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
