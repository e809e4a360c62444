"""What was measured, as it lies in the repository: verify cycles of every held-out request, by run and moment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Pairs = list[tuple[int, int]]
"""Tokens and cycles of each held-out request."""


@dataclass(frozen=True)
class Point:
    """A draft, measured.

    Attributes:
        tokens: generated tokens that it was trained on, each time that they were.
        seconds: of training.
        greedy: by domain, with as many draft steps as the engine drafts.
        sampled, longer: sums over all domains: of answers at temperature 0.8, and with seven draft steps; zeros where
            that was not measured.
    """

    tokens: int
    seconds: float
    greedy: Mapping[str, Pairs]
    sampled: tuple[int, int]
    longer: tuple[int, int]


@dataclass(frozen=True)
class Runs:
    """All runs of one call.

    Attributes:
        heading: where, when, with what.
        points: by variant, by seed, by moment.
        errors: by variant, what ended a run.
    """

    heading: Mapping[str, Any]
    points: Mapping[str, Mapping[int, Mapping[str, Point]]]
    errors: Mapping[str, str]


def _total(pairs: Sequence[Sequence[int]]) -> tuple[int, int]:
    return sum(p[0] for p in pairs), sum(p[1] for p in pairs)


def compacted(lines: Sequence[str]) -> dict[str, Any]:
    """Of the lines that a call appended, what the comparison needs."""
    heading, *runs = [json.loads(line) for line in lines]
    found = []
    for run in runs:
        if "error" in run:
            found.append(
                {key: run[key] for key in ("variant", "seed")} | {"error": run["error"].splitlines()[-1][:200]}
            )
            continue
        points = {}
        for point in run["points"]:
            three, seven = point["counts"]["3"], point["counts"].get("7", {})
            kinds = {
                kind: {name.split()[0]: pairs for name, pairs in three.items() if name.endswith(kind)}
                for kind in ("greedy", "sampled")
            }
            points[point["at"]] = {
                "tokens": point["tokens"], "seconds": point["seconds"],
                "greedy": {domain: [x for pair in pairs for x in pair] for domain, pairs in kinds["greedy"].items()},
                "sampled": _total([pair for pairs in kinds["sampled"].values() for pair in pairs]),
                "longer": _total([pair for n, pairs in seven.items() if n.endswith("greedy") for pair in pairs]),
            }  # fmt: skip
        found.append({"variant": run["variant"], "seed": run["seed"], "points": points})
    return {"heading": heading, "runs": found}


def read(path: Path) -> Runs:
    """What :func:`compacted` made."""
    stored = json.loads(path.read_text())
    points: dict[str, dict[int, dict[str, Point]]] = {}
    for run in stored["runs"]:
        if "error" in run:
            continue
        points.setdefault(run["variant"], {})[run["seed"]] = {
            at: Point(
                one["tokens"], one["seconds"],
                {domain: list(zip(flat[::2], flat[1::2], strict=True)) for domain, flat in one["greedy"].items()},
                tuple(one["sampled"]), tuple(one["longer"]),
            )
            for at, one in run["points"].items()
        }  # fmt: skip
    return Runs(stored["heading"], points, {run["variant"]: run["error"] for run in stored["runs"] if "error" in run})
