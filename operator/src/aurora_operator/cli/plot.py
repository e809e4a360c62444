"""The course of a trial as a picture: estimate and interval, and the accept length of each version, over time."""

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from aurora_core.printable import printable
from aurora_core.protocol import metrics

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status

_POINTS = 400
_WINDOW = "2m"


class Course(NamedTuple):
    """A series over time."""

    labels: dict[str, str]
    times: list[datetime]
    values: list[float]


def courses(read: Callable[[str], str], query: str, start: datetime, end: datetime) -> list[Course]:
    """A range query.

    Args:
        read: gives the body of a path below the Prometheus API's base.
        query: PromQL.
        start, end: of the range.
    """
    step = max(1.0, (end - start).total_seconds() / _POINTS)
    span = {"start": f"{start.timestamp():.3f}", "end": f"{end.timestamp():.3f}", "step": f"{step:.3f}"}
    found = json.loads(read("/api/v1/query_range?" + urlencode({"query": query, **span})))["data"]["result"]
    out = []
    for one in found:
        pairs = [(datetime.fromtimestamp(float(t), UTC), float(v)) for t, v in one["values"]]
        out.append(Course(one["metric"], [t for t, _ in pairs], [v for _, v in pairs]))
    return out


class Point(NamedTuple):
    """Where a trial stood."""

    time: datetime
    estimate: float
    lower: float
    upper: float


def trials(bounds: dict[str, Course]) -> list[list[Point]]:
    """The stretches in which estimate, lower and upper are all known; without a candidate they are NaN."""
    if bounds.keys() != {"estimate", "lower", "upper"}:
        return []
    by_time = {k: dict(zip(c.times, c.values, strict=True)) for k, c in bounds.items()}
    out: list[list[Point]] = [[]]
    for time in bounds["estimate"].times:
        estimate, lower, upper = (by_time[k].get(time, math.nan) for k in ("estimate", "lower", "upper"))
        if not any(map(math.isnan, (estimate, lower, upper))):
            out[-1].append(Point(time, estimate, lower, upper))
        elif out[-1]:
            out.append([])
    return [points for points in out if points]


def draw(
    file: Path,
    title: str,
    spec: Spec,
    status: Status,
    estimates: Sequence[Course],
    lengths: Sequence[Course],
) -> None:
    """Write the picture.

    Args:
        file: PNG, SVG or PDF, by its suffix.
        title: of the picture.
        spec, status: of the resource; the bar and the verdicts.
        estimates: candidate over stable, by label ``bound``.
        lengths: accept length, by labels ``version`` and ``steps``.
    """
    import matplotlib as mpl  # noqa: PLC0415 (slow to import, and only the picture needs it)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

    figure, (upper, lower) = plt.subplots(2, 1, figsize=(10, 7), sharex=True, layout="constrained")
    bar = 1 + spec.promotion.gate.min_improvement
    for points in trials({c.labels["bound"]: c for c in estimates}):
        ends = [p.estimate - p.lower for p in points], [p.upper - p.estimate for p in points]
        times, values = [p.time for p in points], [p.estimate for p in points]
        upper.errorbar(times, values, ends, color="tab:blue", ecolor="lightblue", marker=".", markersize=4)
    upper.plot([], [], "o", color="tab:red", label="at the verdict")
    upper.axhline(bar, color="black", linewidth=1, linestyle="--", label=f"bar {bar:g}")
    upper.set(ylabel="candidate over stable", title=title)
    upper.legend(loc="upper left")
    for course in sorted(lengths, key=lambda one: int(one.labels[metrics.VERSION])):
        known = [(t, v) for t, v in zip(course.times, course.values, strict=True) if not math.isnan(v)]
        if known and course.labels[metrics.STEPS] != "0":
            columns = [t for t, _ in known], [v for _, v in known]
            lower.plot(*columns, marker=".", markersize=3, label=f"version {course.labels[metrics.VERSION]}")
    lower.set(ylabel="accept length")
    if lower.lines:
        lower.legend(loc="upper left")
    first = min((c.times[0] for c in (*estimates, *lengths) if c.times), default=None)
    for entry in status.history:
        if first is not None and entry.time >= first:
            for axes in (upper, lower):
                axes.axvline(entry.time, color="grey", linewidth=0.8)
            if entry.estimate is not None and entry.lower is not None and entry.upper is not None:
                # The analysis that decided ends the trial, so no scrape has it.
                ends = [entry.estimate - entry.lower], [entry.upper - entry.estimate]
                upper.errorbar(entry.time, entry.estimate, ends, color="tab:red", fmt="o")
            place = (entry.time, upper.get_ylim()[1])
            text = f"{entry.version} {printable(entry.verdict, 40)}"
            upper.annotate(text, place, parse_math=False, rotation=90, fontsize=7, va="top", ha="right")
    ticks = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    lower.xaxis.set_major_locator(ticks)
    lower.xaxis.set_major_formatter(ConciseDateFormatter(ticks, tz=UTC))  # type: ignore[no-untyped-call]
    lower.set(xlabel="time, UTC")
    figure.savefig(file, dpi=130)
    plt.close(figure)


def queries(speculator: str) -> tuple[str, str]:
    """PromQL of estimates and accept lengths."""
    chosen = f'{{{metrics.SPECULATOR}="{speculator}"}}'
    by = f"sum by ({metrics.VERSION}, {metrics.STEPS})"
    top, bottom = (
        f"{by} (increase({one}{chosen}[{_WINDOW}]))" for one in (metrics.ACCEPT_TOKENS, metrics.ACCEPT_CYCLES)
    )
    return f"max by (bound) ({metrics.GATE_ESTIMATE}{chosen})", f"{top} / ({bottom} > 0)"
