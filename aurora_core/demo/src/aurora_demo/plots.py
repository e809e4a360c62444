"""The loop's pictures and its table."""

import os
from io import StringIO
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from aurora_core.evaluation.identity import Identity
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table

from aurora_demo.timeline import Comparison, Timeline

_COLOURS = {"target-only": "#8c8c8c", "static draft": "#d98c2b", "adapted draft": "#2b7bba", "at the end": "#9ecae1"}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def accept_length(path: Path, timeline: Timeline) -> None:
    """Accept length of live traffic and of held-out prompts over time, with every swap."""
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    live = [(p.seconds, p.accept_length) for p in timeline.points if p.accept_length is not None]
    domains = list(dict.fromkeys(p.domain for p in timeline.points))
    for at, _, _ in timeline.swaps:
        axes.axvline(at, color="#dddddd", linewidth=0.8, zorder=0)
    if live:
        axes.plot(*zip(*live, strict=True), ".", color="#9ecae1", label="live traffic, each poll")
    for domain in domains:
        held = [(p.seconds, p.heldout) for p in timeline.points if p.heldout is not None and p.domain == domain]
        label = "held-out prompts" if domain == domains[0] else None
        if held:
            axes.plot(*zip(*held, strict=True), "o-", color="#2b7bba", label=label)
    shift = next((p.seconds for p in timeline.points if p.domain != domains[0]), None)
    if shift is not None:
        axes.axvline(shift, color="#b03030", linestyle="--", label="traffic moves to the second domain")
    axes.set(
        xlabel="seconds since the first request", ylabel="accept length (tokens per verify cycle)", ylim=(0.9, None)
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    axes.set_title("Grey lines: a new draft version goes live", fontsize=9, color="#666666", loc="left")
    figure.savefig(path, dpi=140)
    plt.close(figure)


def speed(path: Path, results: dict[str, Comparison]) -> None:
    """Tokens per second on held-out prompts, by domain."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for i, comparison in enumerate(results.values()):
        bars = {
            "target-only": comparison.target_only.tokens_per_second,
            "static draft": comparison.static.tokens_per_second if comparison.static else None,
            "adapted draft": comparison.adapted.tokens_per_second,
            "at the end": comparison.kept.tokens_per_second if comparison.kept else None,
        }
        for j, (name, value) in enumerate(bars.items()):
            if value is not None:
                bar = axes.bar(i + (j - 1.5) * 0.22, value, 0.2, color=_COLOURS[name], label=name)
                axes.bar_label(bar, fmt="%.0f")
    axes.set_xticks(range(len(results)), [f"{name} domain" for name in results])
    axes.set_ylabel("tokens per second, one request at a time")
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    axes.legend(list(once.values()), list(once), frameon=False)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def table(results: dict[str, Comparison], identity: dict[str, Identity]) -> str:
    """The comparison as text and numbers."""
    out = Table(title="Held-out prompts, one request at a time, trainer paused")
    for column in (
        "domain",
        "draft",
        "tokens/s",
        "x target-only",
        "x static",
        "accept length",
        "answers as target-only",
    ):
        out.add_column(column, justify="left" if column in ("domain", "draft") else "right")
    for name, c in results.items():
        base = c.target_only.tokens_per_second
        i = identity[name]
        answers = f"{i.same} same, {i.ties} at a tie, {i.unexplained} not"
        out.add_row(name, "target-only", f"{base:.1f}", "1.00", "", "", "")
        if c.static is not None:
            speed_ = c.static.tokens_per_second
            out.add_row(
                name, "static", f"{speed_:.1f}", f"{speed_ / base:.2f}", "1.00", f"{c.static.accept_length:.2f}", ""
            )
        speed_ = c.adapted.tokens_per_second
        against = f"{speed_ / c.static.tokens_per_second:.2f}" if c.static else ""
        out.add_row(
            name,
            "adapted",
            f"{speed_:.1f}",
            f"{speed_ / base:.2f}",
            against,
            f"{c.adapted.accept_length:.2f}",
            answers,
        )
        if c.kept is not None:
            length = f"{c.kept.accept_length:.2f} ({c.kept_share:.0%})"
            speed_ = c.kept.tokens_per_second
            out.add_row(name, "at the end", f"{speed_:.1f}", f"{speed_ / base:.2f}", "", length, "")
    console = Console(file=StringIO(), width=110)
    console.print(out)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text
