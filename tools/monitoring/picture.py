"""A dashboard as a picture: its panels at their positions, drawn with matplotlib."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from monitoring.asked import Answered, Board, Read, Span, ask, speculators
from monitoring.numbers import mapped, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOARDS = Path(__file__).parents[2] / "charts" / "aurora-operator" / "dashboards"
_COLUMN, _LINE, _DPI = 60, 38, 100
"""Pixels of a column and of a line of Grafana's grid."""
_HEAD = 46
_NAMED = {"green": "#56a64b", "orange": "#ff780a", "red": "#e02f44", "blue": "#3274d9", "purple": "#a352cc"}
_INK, _FAINT, _PAPER, _GROUND = "#24292e", "#7b8087", "#ffffff", "#f4f5f5"
_SERIES = ("#56a64b", "#e0b400", "#3274d9", "#ff780a", "#e02f44", "#a352cc", "#37872d", "#8ab8ff", "#8f3bb8", "#705da0")


def _colour(name: str) -> str:
    return _NAMED.get(name, _INK)


class _Sheet:
    """The figure, in pixels from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure: Figure = plt.figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_GROUND)

    def text(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        style.setdefault("color", _INK)
        style.setdefault("va", "top")
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=size, parse_math=False, **style)

    def box(self, x: float, y: float, width: float, height: float) -> None:
        corner = (x / self.width, 1 - (y + height) / self.height)
        patch = Rectangle(
            corner, width / self.width, height / self.height, transform=self.figure.transFigure,
            facecolor=_PAPER, edgecolor="#d8d9da", linewidth=0.8, zorder=-1,
        )  # fmt: skip
        self.figure.add_artist(patch)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        place = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place)


def _defaults(panel: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = panel["fieldConfig"]["defaults"]
    return found


def _stat(sheet: _Sheet, one: Answered, x: float, y: float, width: float, height: float) -> None:
    defaults = _defaults(one.panel)
    numbers = [number for answer in one.numbers for number in answer]
    steps = list(defaults["thresholds"]["steps"])
    if not numbers:
        sheet.text(x + width / 2, y + height * 0.6, defaults["noValue"], 15, ha="center", va="center", color=_FAINT)
        return
    for i, number in enumerate(numbers):
        middle = x + width * (i + 0.5) / len(numbers)
        text, colour = mapped(number.value, defaults["unit"], list(defaults.get("mappings", ())), steps)
        coloured = one.panel["options"]["colorMode"] != "none"
        ink = _colour(colour) if coloured else _INK
        sheet.text(middle, y + height * 0.58, text, 21, ha="center", va="center", color=ink, weight="bold")
        if len(numbers) > 1:
            sheet.text(middle, y + height * 0.86, number.name, 8.5, ha="center", va="center", color=_FAINT)


def _columns(panel: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Titles of a table's columns after the first, in order, and what is set of each."""
    overrides = {one["matcher"]["options"]: one["properties"] for one in panel["fieldConfig"]["overrides"]}
    renamed = next(t for t in panel["transformations"] if t["id"] == "organize")["options"]["renameByName"]
    return [(title, {one["id"]: one["value"] for one in overrides.get(title, ())}) for title in renamed.values()]


def _table(sheet: _Sheet, one: Answered, x: float, y: float, width: float) -> None:
    defaults, columns = _defaults(one.panel), _columns(one.panel)
    each = width / (len(columns) + 1.5)
    columns_at = [x + 14, *(x + each * (i + 1.5) + 14 for i in range(len(columns)))]
    for left, title in zip(columns_at, ["speculator", *(title for title, _ in columns)], strict=True):
        sheet.text(left, y + 36, title, 9, color=_NAMED["blue"], weight="bold")
    rows = sorted({number.labels["speculator"] for answer in one.numbers for number in answer})
    for i, row in enumerate(rows):
        line = y + 64 + 30 * i
        sheet.text(columns_at[0], line, row, 9.5, color=_NAMED["blue"])
        for left, (_, properties), answer in zip(columns_at[1:], columns, one.numbers, strict=True):
            value = next((number.value for number in answer if number.labels["speculator"] == row), math.nan)
            unit = properties.get("unit", defaults["unit"])
            text, colour = mapped(value, unit, properties.get("mappings", []), [])
            sheet.text(left, line, defaults["noValue"] if math.isnan(value) else text, 9.5, color=_colour(colour))


def _days(times: Sequence[datetime]) -> list[float]:
    """Times as matplotlib counts them."""
    return [float(date2num(time)) for time in times]  # type: ignore[no-untyped-call]


def _limits(axes: Axes, one: Answered) -> None:
    values = [v for course in one.courses for v in course.values if not math.isnan(v)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = min(low, _defaults(one.panel).get("min", low))
    room = (high - low) * 0.06 or 0.5
    axes.set_ylim(low - (room if "min" not in _defaults(one.panel) else 0), high + room)


def _course(sheet: _Sheet, one: Answered, board: Board, place: tuple[float, float, float, float]) -> None:
    x, y, width, height = place
    defaults = _defaults(one.panel)
    longest = max((len(course.name) for course in one.courses), default=0)
    beside = max(1, min(len(one.courses), int((width - 40) / (6 * longest + 36))))
    lines = math.ceil(len(one.courses) / beside)
    axes = sheet.axes(x + 92, y + 36, width - 110, height - 78 - 15 * lines)
    axes.set_facecolor(_PAPER)
    for i, course in enumerate(one.courses):
        colour = _SERIES[i % len(_SERIES)]
        axes.plot(_days(course.times), course.values, color=colour, linewidth=1.4, label=course.name)
    _limits(axes, one)
    if "thresholdsStyle" in defaults.get("custom", {}):
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None and axes.get_ylim()[0] <= step["value"] <= axes.get_ylim()[1]:
                axes.axhline(step["value"], color=_colour(step["color"]), linewidth=1, linestyle=(0, (5, 4)))
    axes.set_xlim(*_days([board.span.start, board.span.end]))
    colour = _NAMED["purple"]
    for at, (_, what) in zip(_days([time for time, _ in board.marks]), board.marks, strict=True):
        axes.axvline(at, linewidth=0.9, linestyle=":", color=colour, zorder=0)
        if width > sheet.width / 2.2:
            axes.annotate(what, (at, axes.get_ylim()[1]), rotation=90, fontsize=6, va="top", ha="right", color=colour)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, defaults["unit"])))
    ticks = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(ticks, tz=UTC, show_offset=False))  # type: ignore[no-untyped-call]
    axes.tick_params(labelsize=8, colors=_FAINT, length=0, pad=6)
    axes.grid(color="#e9eaeb", linewidth=0.7)
    for side in axes.spines.values():
        side.set_visible(False)
    if one.courses:
        corner = (x + 6) / sheet.width, 1 - (y + height - 12 - 15 * lines) / sheet.height
        axes.legend(
            loc="upper left", bbox_to_anchor=corner, bbox_transform=sheet.figure.transFigure, ncols=beside,
            frameon=False, fontsize=8, handlelength=1.2, columnspacing=1.2, borderpad=0, labelspacing=0.3,
        )  # fmt: skip
    else:
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", va="center", color=_FAINT)


def draw(file: Path, board: Board) -> None:
    """Write a dashboard's picture: PNG, SVG or PDF, by its suffix."""
    positions = [one.panel["gridPos"] for one in board.panels]
    sheet = _Sheet(24 * _COLUMN, _HEAD + _LINE * max(at["y"] + at["h"] for at in positions) + 8)
    sheet.text(14, 16, board.title, 13, weight="bold")
    start, end = (f"{time:%Y-%m-%d %H:%M:%S}" for time in (board.span.start, board.span.end))
    chosen = ", ".join(board.chosen) or "none"
    sheet.text(sheet.width - 14, 18, f"SpeculatorDeployment: {chosen}    {start} to {end} UTC", 9.5, ha="right")
    for one, at in zip(board.panels, positions, strict=True):
        x, y = at["x"] * _COLUMN + 4, _HEAD + at["y"] * _LINE + 4
        width, height = at["w"] * _COLUMN - 8, at["h"] * _LINE - 8
        if one.panel["type"] == "row":
            sheet.text(x + 8, y + 8, f"▾ {one.panel['title']}", 11, weight="bold")
            continue
        sheet.box(x, y, width, height)
        sheet.text(x + 10, y + 9, one.panel["title"], 9.5, weight="bold")
        match one.panel["type"]:
            case "stat":
                _stat(sheet, one, x, y, width, height)
            case "table":
                _table(sheet, one, x, y, width)
            case _:
                _course(sheet, one, board, (x, y, width, height))
    sheet.figure.savefig(file, dpi=_DPI, facecolor=_GROUND)
    plt.close(sheet.figure)


def draw_all(folder: Path, read: Read, span: Span, chosen: Sequence[str] = ()) -> list[Path]:
    """Ask for every dashboard of the chart and draw it.

    Args:
        folder: where ``dashboard_NAME.png`` is written.
        read: asks the Prometheus.
        span: the range.
        chosen: SpeculatorDeployments, ``namespace/name``; without any all that have series.

    Returns:
        What was written.

    Raises:
        ValueError: the Prometheus refused a query.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = list(chosen) or speculators(read, span)
    out = []
    for source in sorted(BOARDS.glob("*.json")):
        out.append(folder / f"dashboard_{source.stem}.png")
        draw(out[-1], ask(json.loads(source.read_text()), read, span, values))
    return out
