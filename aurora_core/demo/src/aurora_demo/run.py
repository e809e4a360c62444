"""The demonstration: two domains of traffic, one after the other, and what the loop makes of them."""

import json
import platform
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path

from aurora_core.datasets.conversations import read_prompts
from aurora_core.errors import ConfigError
from aurora_core.evaluation.identity import Identity, LogitChecker
from aurora_core.evaluation.requests import Measured, Stream, measure
from aurora_core.models.target import Target
from aurora_core.protocol.engine import EngineState
from transformers import AutoTokenizer

from aurora_demo import plots
from aurora_demo.config import LoopConfig
from aurora_demo.stack import Stack, Work
from aurora_demo.timeline import Comparison, Drafts, Point, Timeline
from aurora_demo.view import View

SPECULATE_AT = 1.35
"""Held-out accept length from which a draft is tried; measured decode speed decides whether it stays."""

_TICK_SECONDS = 2.0
_PROBE_SECONDS = 40.0
_PROBES = 4

_Prompts = Mapping[str, tuple[list[str], list[str]]]
"""Prompts of each domain's traffic, and those that are held out."""


def _split(prompts: Sequence[str], heldout: int) -> tuple[list[str], list[str]]:
    """Traffic and held-out prompts: every n-th is held out."""
    if heldout * 2 > len(prompts):
        message = f"{len(prompts)} prompts are too few to hold out {heldout}"
        raise ConfigError(message)
    stride = len(prompts) // heldout
    kept = [p for i, p in enumerate(prompts) if i % stride or i // stride >= heldout]
    return kept, [p for i, p in enumerate(prompts) if not i % stride and i // stride < heldout]


def drafted_length(before: EngineState, now: EngineState) -> float | None:
    """Accept length of the cycles between two reads in which a draft proposed; None where there was no such cycle."""
    tokens = cycles = 0.0
    for arm in now.arms:
        if arm.steps:
            old = before.arm(arm.version, arm.steps)
            tokens += max(0.0, arm.accept_tokens - old.accept_tokens)
            cycles += max(0.0, arm.accept_cycles - old.accept_cycles)
    return tokens / cycles if cycles else None


def _phase(
    stack: Stack, timeline: Timeline, view: View, domain: str, texts: list[str], probes: list[str], began: float
) -> None:
    """Traffic of one domain for the configured time, versions going live as they come."""
    config = stack.config.traffic
    stream = Stream.start(stack.url, texts, config.concurrency, config.max_new_tokens)
    deadline = time.monotonic() + config.seconds
    seen = failed = 0
    last = time.monotonic()
    next_probe = last + _PROBE_SECONDS
    counted = stack.agent.live()
    while time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)
        stack.check()
        before, counted = counted, stack.agent.live()
        length = drafted_length(before, counted)
        swapped = stack.follow(SPECULATE_AT)
        stack.keep_faster()
        now = time.monotonic()
        if swapped is not None:
            timeline.swaps.append((now - began, *swapped))
        answers = stream.record.answers[seen:]
        seen += len(answers)
        failed = len(stream.record.failures)
        heldout = None
        if stack.steps and now >= next_probe:
            heldout = measure(stack.url, probes[:_PROBES], 2, config.max_new_tokens).accept_length
            next_probe = time.monotonic() + _PROBE_SECONDS
            counted = stack.agent.live()
            if heldout >= 2.0 and timeline.reached_two is None:  # noqa: PLR2004 (the figure of the README)
                timeline.reached_two = time.monotonic() - began
        rate = sum(len(a.ids) for a in answers) / max(1e-9, now - last)
        last = now
        timeline.points.append(Point(now - began, domain, length, rate, heldout, stack.live))
        view.show(timeline, stack, domain, deadline - now, failed)
    timeline.failures += stream.stop().failures


def _drafts(stack: Stack, timeline: Timeline, view: View, split: _Prompts) -> dict[str, Drafts]:
    """The traffic of one domain after the other, and each one's drafts measured after it, the trainer paused."""
    config, began = stack.config, time.monotonic()
    out: dict[str, Drafts] = {}

    def measured(heldout: list[str]) -> Measured:
        return measure(stack.url, heldout, 1, config.traffic.max_new_tokens)

    for name, (texts, heldout) in split.items():
        before = stack.live
        stack.pinned = {before}
        _phase(stack, timeline, view, name, texts, heldout, began)
        view.say(f"measuring the {name} domain, the trainer paused")
        trainer = stack.trainer
        trainer.pause()
        stack.set_steps(config.draft.num_steps)
        static = None
        if out:
            adapted = stack.live
            stack.load(before)
            static = measured(heldout)
            stack.load(adapted)
        out[name] = Drafts(static=static, adapted=measured(heldout))
        if len(out) == len(split):
            earlier = {one: measured(split[one][1]) for one in out if one != name}
            out |= {one: replace(out[one], kept=kept) for one, kept in earlier.items()}
        trainer.resume()
    return out


def run(config: LoopConfig, target: Target, root: Path, *, live: bool, kind: type[Stack] = Stack) -> None:
    """Run the demonstration; prints a table and, last, one line of JSON.

    Args:
        config: of the loop.
        target: that is served.
        root: folder for all that it writes.
        live: whether to draw on a terminal.
        kind: how engine and trainer are started.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if root.exists() and any(root.iterdir()) and not (root / "weights").is_dir():
        message = f"{root} is not empty and no folder of this command; name another with --work"
        raise ConfigError(message)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(target.path)
    traffic = config.traffic
    domains = {"first": traffic.prompts}
    if traffic.shifted_prompts is not None:
        domains["shifted"] = traffic.shifted_prompts
    split = {name: _split(read_prompts(path, tokenizer), traffic.heldout) for name, path in domains.items()}
    timeline = Timeline()
    stack = kind.prepared(config, target, Work(root))
    with View(live=live) as view:
        try:
            view.say("starting SGLang, the sync agent and the trainer")
            stack.start()
            drafts = _drafts(stack, timeline, view, split)
            state = stack.agent.live()
            training = stack.training()
            stack.stop("trainer", "agent", "engine")
            view.say("measuring stock SGLang without a draft")
            stack.start_target_only()
            plain = {n: measure(stack.url, held, 1, traffic.max_new_tokens) for n, (_, held) in split.items()}
        finally:
            stack.stop()
    results = {n: Comparison(target_only=plain[n], **vars(d)) for n, d in drafts.items()}
    checker = LogitChecker.load(target.path, stack.dtype)
    identity = {n: checker.identity(c.target_only.ids, c.adapted.ids) for n, c in results.items()}
    _finish(root, config, timeline, results, identity, {"engine": state.plain(), "training": training.plain()})


def _finish(
    root: Path,
    config: LoopConfig,
    timeline: Timeline,
    results: dict[str, Comparison],
    identity: dict[str, Identity],
    detail: dict[str, object],
) -> None:
    plots.accept_length(root / "accept_length.png", timeline)
    plots.speed(root / "speed.png", results)
    print(plots.table(results, identity))
    summary: dict[str, object] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {plots.cores()} cores",
        "sglang": package_version("sglang"),
        "torch": package_version("torch"),
        "target": config.target.model,
        "seconds_to_accept_length_2": timeline.reached_two and round(timeline.reached_two, 1),
        "versions": len(timeline.swaps),
        "swap_stall_ms_max": round(1e3 * max((s for _, _, s in timeline.swaps), default=0.0), 1),
        "failed_requests": len(timeline.failures)
        + sum(len(m.failures) for c in results.values() for m in (c.target_only, c.adapted)),
        "plots": [str(root / "accept_length.png"), str(root / "speed.png")],
    }
    for name, c in results.items():
        i = identity[name]
        summary[name] = {
            "target_only_tokens_per_second": round(c.target_only.tokens_per_second, 1),
            "static_tokens_per_second": c.static and round(c.static.tokens_per_second, 1),
            "adapted_tokens_per_second": round(c.adapted.tokens_per_second, 1),
            "adapted_over_target_only": round(c.adapted.tokens_per_second / c.target_only.tokens_per_second, 2),
            "adapted_over_static": c.static and round(c.adapted.tokens_per_second / c.static.tokens_per_second, 2),
            "static_accept_length": c.static and round(c.static.accept_length, 2),
            "adapted_accept_length": round(c.adapted.accept_length, 2),
            "kept_accept_length": c.kept and round(c.kept.accept_length, 2),
            "kept_share": c.kept_share and round(c.kept_share, 3),
            "answers_compared": i.compared,
            "answers_identical": i.same,
            "answers_differing_at_a_tie": i.ties,
            "answers_differing_otherwise": i.unexplained,
        }
    everything = {
        "summary": summary,
        "points": [asdict(p) for p in timeline.points],
        "swaps": timeline.swaps,
        "failures": timeline.failures,
        **detail,
    }
    (root / "result.json").write_text(json.dumps(everything, indent=1))
    print(json.dumps(summary))
