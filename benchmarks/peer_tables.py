"""What was measured of trainers, as tables with ratios within the run."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from peer_processes import project


def speeds(rows: Sequence[Mapping[str, Any]]) -> str:
    """Tokens per second (median of the rounds) and extra memory (the most) of each case, with ratios to the best peer.

    Args:
        rows: what was measured, each with its case and trainer; one without ``tokens_per_second`` failed.
    """
    out = [
        "| case | trainer | tokens/s | of the best peer's | extra GiB | of that peer's |",
        "|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(row["case"] for row in rows):
        here = [row for row in rows if row["case"] == case]
        fine = [row for row in here if "tokens_per_second" in row]
        speed = {
            name: statistics.median(row["tokens_per_second"] for row in fine if row["trainer"] == name)
            for name in dict.fromkeys(row["trainer"] for row in fine)
        }
        extra = {name: max(row["extra_gib"] for row in fine if row["trainer"] == name) for name in speed}
        best = max((name for name in speed if project(name) != "ours"), key=speed.__getitem__, default=None)
        for name in dict.fromkeys(row["trainer"] for row in here):
            if name not in speed:
                out.append(f"| {case} | {name} | failed | | | |")
                continue
            faster = "" if best is None else f"{speed[name] / speed[best]:.2f}"
            smaller = "" if best is None or not extra[best] else f"{extra[name] / extra[best]:.2f}"
            out.append(f"| {case} | {name} | {speed[name]:,.0f} | {faster} | {extra[name]:.2f} | {smaller} |")
    return "\n".join(out)


Curve = Sequence[tuple[int, float, float]]
"""Of a trainer: tokens, seconds and accept length, at the beginning and after each part of its training."""


def at_seconds(curve: Curve, seconds: float) -> float | None:
    """Accept length after so many seconds, between two points in proportion; None where it trained for less."""
    for (_, earlier, low), (_, later, high) in pairwise(curve):
        if seconds <= later:
            return low + (high - low) * (seconds - earlier) / (later - earlier)
    return None


def lengths(curves: Mapping[str, Curve]) -> str:
    """Accept length at equal tokens, the last that all trained on, and at equal seconds, those of the fastest.

    Args:
        curves: of each trainer, over the same batches.
    """
    tokens = min(curve[-1][0] for curve in curves.values())
    seconds = min(curve[-1][1] for curve in curves.values())
    out = [
        f"| trainer | before | at {tokens:,} tokens | at {seconds:.0f} s | seconds in all |",
        "|---|---|---|---|---|",
    ]
    for name, curve in curves.items():
        equal = next(length for trained, _, length in curve if trained >= tokens)
        timed = at_seconds(curve, seconds)
        shown = "" if timed is None else f"{timed:.2f}"
        out.append(f"| {name} | {curve[0][2]:.2f} | {equal:.2f} | {shown} | {curve[-1][1]:.0f} |")
    return "\n".join(out)
