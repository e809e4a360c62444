"""A dashboard's panels with what a Prometheus answers them: what Grafana would show of a range of time."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from aurora_core.protocol import metrics

Read = Callable[[str], str]
"""Gives the body of a path below the base of a Prometheus' API."""
_SPECIAL = re.compile(r"[\\\[\]{}()*+?.^$|]")


class Span(NamedTuple):
    """What is shown of a time series.

    Attributes:
        start, end: of the range; numbers of now are those of its end.
        scrape: seconds between two scrapes, as set in Grafana's data source; 15 where it is not set.
        width: pixels of the entire dashboard.
    """

    start: datetime
    end: datetime
    scrape: float = 15
    width: int = 1440

    def step(self, share: float) -> float:
        """Seconds between two points of a panel that takes this share of the width."""
        return max(self.scrape, math.ceil((self.end - self.start).total_seconds() / (self.width * share)))

    def rate_interval(self, share: float) -> float:
        """What ``$__rate_interval`` stands for, as Grafana has it."""
        return max(self.step(share) + self.scrape, 4 * self.scrape)


class Course(NamedTuple):
    """A series: its name in the legend, and a value for each of the times; NaN where it has none."""

    name: str
    times: list[datetime]
    values: list[float]


class Number(NamedTuple):
    """A value of now, and the labels that it has."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Answered:
    """A panel, and what was answered.

    Attributes:
        panel: as the dashboard's JSON has it.
        courses: of one that shows a range.
        numbers: of one that shows now, a list for each of its queries.
    """

    panel: Mapping[str, Any]
    courses: Sequence[Course] = ()
    numbers: Sequence[Sequence[Number]] = ()


@dataclass(frozen=True)
class Board:
    """A dashboard that was asked.

    Attributes:
        title: of the dashboard.
        chosen: values of ``$speculator``.
        span: what was asked for.
        panels: in order.
        marks: when something was decided, and what.
    """

    title: str
    chosen: Sequence[str]
    span: Span
    panels: Sequence[Answered]
    marks: Sequence[tuple[datetime, str]]


def _data(read: Read, below: str, **asked: str) -> Any:  # noqa: ANN401 (a list or an object, as the route has it)
    answer = json.loads(read(f"/api/v1/{below}?{urlencode(asked)}"))
    if answer.get("status") != "success":
        message = f"the Prometheus refused {asked}: {answer.get('error')}"
        raise ValueError(message)
    return answer["data"]


def _legend(form: str, labels: Mapping[str, str]) -> str:
    """A series' name.

    >>> _legend("version {{version}}", {"version": "3"})
    'version 3'
    >>> _legend("", {}), _legend("", {"what": "apply"})
    ('Value', 'what=apply')
    """
    if not form:
        return ", ".join(f"{key}={value}" for key, value in labels.items() if key != "__name__") or "Value"
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), form) or "Value"


def _ranged(read: Read, query: str, form: str, span: Span, step: float) -> list[Course]:
    start, end = span.start.timestamp(), span.end.timestamp()
    asked = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
    stamps = [start + step * i for i in range(int((end - start) / step + 1e-6) + 1)]
    times = [datetime.fromtimestamp(stamp, UTC) for stamp in stamps]
    out = []
    for one in _data(read, "query_range", query=query, **asked)["result"]:
        known = {round((float(t) - start) / step): float(v) for t, v in one["values"]}
        out.append(Course(_legend(form, one["metric"]), times, [known.get(i, math.nan) for i in range(len(stamps))]))
    return sorted(out, key=lambda course: course.name)


def _instant(read: Read, query: str, form: str, end: datetime) -> list[Number]:
    found = _data(read, "query", query=query, time=f"{end.timestamp():.3f}")["result"]
    return [Number(_legend(form, one["metric"]), one["metric"], float(one["value"][1])) for one in found]


def _chosen(variables: Sequence[Mapping[str, Any]], values: Sequence[str]) -> str:
    """What ``$speculator`` stands for: all of them as a regular expression, or the first."""
    many = next(one for one in variables if one["name"] == "speculator")["multi"]
    if not many:
        return values[0] if values else ""
    escaped = [_SPECIAL.sub(lambda found: f"\\\\{found[0]}", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _marks(read: Read, query: str, span: Span) -> list[tuple[datetime, str]]:
    """When each series of an annotation begins to have values."""
    out = []
    for course in _ranged(read, query, "{{reason}}", span, span.step(1)):
        pairs = zip(course.times, course.values, [math.nan, *course.values], strict=False)
        out += [(time, course.name) for time, value, before in pairs if not math.isnan(value) and math.isnan(before)]
    return sorted(out)


def speculators(read: Read, span: Span) -> list[str]:
    """The SpeculatorDeployments that have series in a range."""
    asked = {"start": f"{span.start.timestamp():.3f}", "end": f"{span.end.timestamp():.3f}"}
    found = _data(read, "label/speculator/values", **asked, **{"match[]": str(metrics.STABLE_VERSION)})
    return sorted(found)


def ask(board: Mapping[str, Any], read: Read, span: Span, values: Sequence[str]) -> Board:
    """All panels of a dashboard.

    Args:
        board: the dashboard's JSON.
        read: asks the Prometheus.
        span: the range.
        values: SpeculatorDeployments; a dashboard of one shows the first.

    Raises:
        ValueError: the Prometheus refused a query.
    """
    chosen = _chosen(board["templating"]["list"], values)
    out = []
    for panel in board["panels"]:
        share = panel["gridPos"]["w"] / 24
        courses: list[Course] = []
        numbers: list[list[Number]] = []
        for target in panel.get("targets", ()):
            interval = f"{span.rate_interval(share):.0f}s"
            query = target["expr"].replace("$speculator", chosen).replace("$__rate_interval", interval)
            if target.get("instant"):
                numbers.append(_instant(read, query, target["legendFormat"], span.end))
            else:
                courses += _ranged(read, query, target["legendFormat"], span, span.step(share))
        out.append(Answered(panel, courses, numbers))
    queries = [one["expr"].replace("$speculator", chosen) for one in board["annotations"]["list"] if one.get("expr")]
    marks = [mark for query in queries for mark in _marks(read, query, span)]
    multi = next(one for one in board["templating"]["list"] if one["name"] == "speculator")["multi"]
    return Board(board["title"], values if multi else values[:1], span, out, marks)
