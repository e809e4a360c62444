"""What gpu_check measures of serving: exactness, the cost of capture, swaps, and learning from live traffic."""

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from aurora_core.arithmetic import STATE_DTYPES
from aurora_core.config import DraftConfig
from aurora_core.config.parts import DraftShape
from aurora_core.drafts.family import Teacher
from aurora_core.drafts.registry import family
from aurora_core.errors import EngineError
from aurora_core.evaluation.accept import simulate
from aurora_core.evaluation.requests import Measured, Stream, measure
from aurora_core.samples.schema import Sample, decode
from aurora_core.training.init import first_draft
from aurora_core.waiting import wait
from aurora_core.weights import checkpoint
from aurora_demo.stack import Stack, Work
from transformers import AutoModelForCausalLM

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
        block_learn_seconds: of a block-parallel draft.
        heldout: prompts that no training sees.
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
    block_learn_seconds: float = 60
    heldout: int = 16


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
    block_learn_seconds=20,
    heldout=4,
)


def samples_of(running: Stack) -> dict[str, Sample]:
    """What the engine captured so far, by request."""
    found = {}
    config = running.config.draft
    aux_width, hidden = family(config.algorithm).sample_widths(first_draft(config, running.target, 0).config)
    for path in sorted(running.work.spool.glob("*.sample")):
        sample = decode(
            path.read_bytes(),
            target=running.target.fingerprint,
            vocab_size=running.target.vocab_size,
            aux_width=aux_width,
            hidden=hidden,
            dtypes=STATE_DTYPES,
        )
        found[sample.request] = sample
    return found


def captured(running: Stack, prompts: Sequence[str], concurrency: int, tokens: int) -> tuple[Measured, list[Sample]]:
    """Ask every prompt once, all captured; returns what the engine did and the samples that arrived within a minute."""
    running.agent.set_sample_rate(1.0)
    before = set(samples_of(running))
    measured = measure(running.url, prompts, concurrency, tokens, prefix=CAPTURED)
    new: list[Sample] = []

    def have_arrived() -> bool:
        new[:] = [sample for name, sample in samples_of(running).items() if name not in before]
        return len(new) >= len(measured.answers)

    # Those that are missing after a minute are what the caller counts.
    with contextlib.suppress(EngineError):
        wait("the samples", have_arrived, 60)
    return measured, new


@torch.no_grad()
def exact(running: Stack, prompts: Sequence[str], size: Size, device: torch.device) -> dict[str, Any]:
    """Captured rows against transformers' on the same device, both in the engine's type."""
    measured, samples = captured(running, prompts[: size.exact], size.concurrency, 64)
    model = (
        AutoModelForCausalLM.from_pretrained(running.target.path, dtype=getattr(torch, running.dtype)).to(device).eval()
    )
    layers = first_draft(running.config.draft, running.target, 0).config.aux_layers
    worst, agree, rows = 1.0, 0, 0
    means: list[float] = []
    for sample in samples:
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
        "requests": len(measured.answers), "samples": len(samples), "cosine_min": round(worst, 5),
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
                    fresh = [f"{block}-{rate}-{now} {i} {text}" for i, text in enumerate(texts)]
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
    first = running.live
    version = running.store.publish(
        lambda folder: checkpoint.write(folder, other),
        target_fingerprint=running.target.fingerprint,
        algorithm=other.algorithm,
    ).version
    traffic = Stream.start(running.url, prompts, size.concurrency, 128)
    stalls = sorted(1e3 * running.load(version if i % 2 == 0 else first) for i in range(size.swaps))
    record = traffic.stop()
    return {
        "swaps": len(stalls), "ms_median": round(statistics.median(stalls), 2), "ms_max": round(stalls[-1], 2),
        "requests": len(record.answers), "failed": len(record.failures), "failures": record.failures[:2],
    }  # fmt: skip


def learn(running: Stack, prompts: Sequence[str], size: Size, seconds: float, device: torch.device) -> dict[str, Any]:
    """Train on live traffic, load what is published, and measure on prompts that were not served.

    The accept length on those is also simulated from what was captured of them: what training believes of a draft.
    """
    heldout, served = prompts[: size.heldout], prompts[size.heldout :]
    config = running.config.draft
    if config.switchable:
        running.set_steps(0)
    before = measure(running.url, heldout, 4, 128)
    running.start_trainer()
    traffic = Stream.start(running.url, served, size.concurrency, 128)
    began, loaded = time.monotonic(), []
    while time.monotonic() - began < seconds:
        time.sleep(1)
        running.check()
        newest = running.store.versions()[-1]
        if newest != running.live:
            running.load(newest)
            running.set_steps(config.num_steps)
            loaded.append(round(time.monotonic() - began, 1))
    record = traffic.stop()
    running.stop("trainer")
    drafted = measure(running.url, heldout, 4, 128)
    again, samples = captured(running, heldout, 4, 128)
    draft = checkpoint.read(running.store.folder(running.live), config.algorithm).to(device)
    teacher = Teacher.of(running.target, draft, torch.bfloat16 if device.type == "cuda" else torch.float32, device)
    status = running.training()
    return {
        "seconds": seconds, "versions_loaded_at": loaded, "steps": status.step, "tokens": status.tokens,
        "tokens_per_second_before": round(before.tokens_per_second, 1),
        "tokens_per_second": round(drafted.tokens_per_second, 1),
        "over_before": round(drafted.tokens_per_second / before.tokens_per_second, 3),
        "before": "target-only" if config.switchable else "the untrained draft",
        "accept_length": round(drafted.accept_length, 3), "accept_length_captured": round(again.accept_length, 3),
        "accept_length_simulated": round(simulate(draft, teacher, samples, steps=config.num_steps).length, 3),
        "simulated_requests": len(samples), "requests": len(record.answers), "failed": len(record.failures),
    }  # fmt: skip


def dflash(running: Stack, prompts: Sequence[str], size: Size, device: torch.device) -> dict[str, Any]:
    """A block-parallel draft in an engine of its own, which takes the other's place: exact, swapped and trained."""
    running.stop()
    draft = DraftConfig(algorithm="DFLASH", num_steps=3, num_draft_tokens=4, shape=DraftShape(num_hidden_layers=2))
    config = running.config.model_copy(update={"draft": draft})
    other = Stack.prepared(config, running.target, Work(running.work.root / "dflash"))
    found: dict[str, Any] = {}
    began = time.monotonic()
    try:
        other.start_engine()
        other.start_agent()
        found["engine_seconds"] = round(time.monotonic() - began, 1)
        found["exact"] = exact(other, prompts, size, device)
        found["swap"] = swap(other, prompts, size)
        found["learn"] = learn(other, prompts, size, size.block_learn_seconds, device)
        arms = [arm for arm in other.agent.live().arms if arm.accept_cycles]
        found["arms"] = {f"{arm.version}/{arm.steps}": round(arm.accept_tokens / arm.accept_cycles, 3) for arm in arms}
    except Exception as failure:  # noqa: BLE001 (what was found before it is shown with it)
        found["error"] = f"{type(failure).__name__}: {failure}"[:1500]
    finally:
        other.stop()
    return found
