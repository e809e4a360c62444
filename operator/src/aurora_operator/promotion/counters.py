"""From raw counter samples, as Prometheus stores them, to what was added: exact under resets, restarts, duplicates."""

import functools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aurora_core.protocol import metrics
from aurora_core.protocol.metrics import Metric


class Row(NamedTuple):
    """An arm's counters, or by how much each of them grew."""

    finished: float = 0.0
    aborted: float = 0.0
    failed: float = 0.0
    tokens: float = 0.0
    cycles: float = 0.0
    timed_tokens: float = 0.0
    seconds: float = 0.0
    first_tokens: float = 0.0
    first_seconds: float = 0.0

    def plus(self, other: "Row") -> "Row":
        """Both together."""
        return Row(*map(sum, zip(self, other, strict=True)))

    def times(self, share: float) -> "Row":
        """A share of it."""
        return Row(*(value * share for value in self))


_READ = (
    metrics.REQUESTS_FINISHED, metrics.REQUESTS_ABORTED, metrics.REQUESTS_FAILED,
    metrics.ACCEPT_TOKENS, metrics.ACCEPT_CYCLES, metrics.DECODE_TOKENS, metrics.DECODE_SECONDS,
    metrics.FIRST_TOKENS, metrics.FIRST_SECONDS,
)  # fmt: skip
NAMES = tuple(map(str, _READ))
"""The counters that a trial reads, as :class:`Row` has them."""
LATER = (str(metrics.FIRST_TOKENS), str(metrics.FIRST_SECONDS))
"""Those that an engine from before they were counted does not have: zero there, so that they compare nothing."""

OF_STRATUM: Mapping[str, Metric] = {
    "tokens": metrics.STRATUM_ACCEPT_TOKENS,
    "cycles": metrics.STRATUM_ACCEPT_CYCLES,
    "timed_tokens": metrics.STRATUM_DECODE_TOKENS,
    "seconds": metrics.STRATUM_DECODE_SECONDS,
}
"""The counters of a stratum, by the fields of :class:`Row` that they are; the others are zero."""
STRATUM_NAMES = tuple(map(str, OF_STRATUM.values()))
_FIELDS = dict(zip(Row._fields, NAMES, strict=True))
_FIELDS_OF_STRATUM = {field: str(metric) for field, metric in OF_STRATUM.items()}

LARGEST = 1e18
"""Of a counter: more than any engine counts."""


@dataclass(frozen=True)
class Series:
    """A counter's raw samples: its labels, and (seconds since the epoch, value) ascending."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Arm:
    """A draft version and the steps that it drafts."""

    version: int
    steps: int


_At = tuple[float, Row]


@dataclass(frozen=True)
class Span:
    """What was added between two scrapes, in seconds since the epoch."""

    start: float
    end: float
    row: Row


def _rows(series: Sequence[Series], fields: Mapping[str, str]) -> list[_At]:
    """One scrape target's counters, joined at the scrapes that have all of them.

    Args:
        series: of the target.
        fields: of a row, and the counter that each is.
    """
    by_name = {one.labels["__name__"]: dict(one.samples) for one in series}
    there = {field: name for field, name in fields.items() if name in by_name or name not in LATER}
    if any(name not in by_name for name in there.values()):
        return []
    times = set.intersection(*(set(by_name[name]) for name in there.values()))
    return [(time, Row(**{field: by_name[name][time] for field, name in there.items()})) for time in sorted(times)]


def is_possible(row: Row) -> bool:
    """Whether a scrape can be of counters that count: finite, not negative, and no larger than anything counted here.

    What is not possible comes from a broken or a hostile source, and proves nothing.
    """
    return all(math.isfinite(value) and 0 <= value <= LARGEST for value in row)


def increments(rows: Sequence[_At], since: float, *, from_zero: bool, last: _At | None = None) -> list[Span]:
    """What was added between scrapes after ``since``.

    A counter that went down was reset: all it shows was added since. The last scrape before ``since`` is the
    baseline; without one it is zero where the series began within the window (a version that never served
    before), and else the first scrape itself, so that nothing of before is ever counted.

    Args:
        rows: scrapes, ascending.
        since: start of the window.
        from_zero: whether the series cannot have existed before the window.
        last: the newest scrape that was seen already; what is not newer is left out.
    """
    out: list[Span] = []
    for time, row in rows:
        if last is not None and time <= last[0]:
            continue
        if time > since:
            base = last[1] if last is not None else (Row() if from_zero else row)
            if any(new < old for new, old in zip(row, base, strict=True)):
                base = Row()
            start = max(since, last[0]) if last is not None else since
            out.append(Span(start, time, Row(*(new - old for new, old in zip(row, base, strict=True)))))
        last = time, row
    return out


@dataclass
class Slices:
    """One engine's work under one arm, by time slice.

    Attributes:
        inside: by slice, what was added between scrapes that lie in it.
        across: by slice, what was added between its last scrape and the next slice's first one, and the share of that
            time which lies in the slice.
        gaps: slices in which work was done that no scrape separates from that of others.
    """

    inside: dict[int, Row] = field(default_factory=dict)
    across: dict[int, tuple[float, Row]] = field(default_factory=dict)
    gaps: set[int] = field(default_factory=set)

    def add(self, span: Span, since: float, length: float) -> None:
        """Take in what was added between two scrapes."""
        first = max(0, math.floor((span.start - since) / length))
        last = max(first, math.ceil((span.end - since) / length) - 1)
        if last == first:
            self.inside[first] = self.inside.get(first, Row()).plus(span.row)
        elif last == first + 1:
            share = (since + last * length - span.start) / (span.end - span.start)
            self.across[first] = (share, span.row)
        elif any(span.row):
            self.gaps.update(range(first, last + 1))

    def total(self) -> Row:
        """All that is known by slice."""
        rows = (*self.inside.values(), *(row for _, row in self.across.values()))
        return functools.reduce(Row.plus, rows, Row())


class Counters:
    """What one arm's counters added since a moment, for each engine and time slice; read piece by piece.

    Args:
        arm: which arm.
        since: the moment, in seconds since the epoch.
        from_zero: whether the arm cannot have served before it.
        length: of a time slice in seconds; the first begins at ``since``.
        stratum: only its requests; None for all.

    Attributes:
        since: as given.
        engines: by engine, what was added.
        latest: time of the newest scrape, in seconds since the epoch.
        refused: scrapes with values that no counter can have.
    """

    def __init__(
        self,
        arm: Arm,
        since: float,
        *,
        from_zero: bool,
        length: float,
        stratum: str | None = None,
    ) -> None:
        self.engines: dict[str, Slices] = {}
        self.latest = since
        self._labels = {metrics.VERSION: str(arm.version), metrics.STEPS: str(arm.steps)}
        if stratum is not None:
            self._labels[metrics.STRATUM] = stratum
        self._fields = _FIELDS if stratum is None else _FIELDS_OF_STRATUM
        self._names = frozenset(self._fields.values())
        self.since = since
        self._from_zero = from_zero
        self._length = length
        self._last: dict[str, _At] = {}
        self.refused = 0

    def add(self, series: Sequence[Series]) -> None:
        """Take in a window of time, not before any other; what overlaps with the window before counts once.

        The same engine may be scraped by two jobs or two replicas of Prometheus; of such duplicates the one with the
        most scrapes counts.
        """
        engines: dict[str, dict[tuple[tuple[str, str], ...], list[Series]]] = defaultdict(lambda: defaultdict(list))
        for one in series:
            named = one.labels.get("__name__") in self._names
            if named and self._labels.items() <= one.labels.items():
                scrape = tuple(sorted((k, v) for k, v in one.labels.items() if k != "__name__"))
                engines[one.labels.get(metrics.ENGINE, "")][scrape].append(one)
        for engine, duplicates in engines.items():
            scrapes = max((_rows(duplicate, self._fields) for duplicate in duplicates.values()), key=len)
            rows = [(time, row) for time, row in scrapes if is_possible(row)]
            self.refused += len(scrapes) - len(rows)
            slices = self.engines.setdefault(engine, Slices())
            for span in increments(rows, self.since, from_zero=self._from_zero, last=self._last.get(engine)):
                slices.add(span, self.since, self._length)
            if rows:
                self._last[engine] = max(rows[-1], self._last.get(engine, rows[-1]))
                self.latest = max(self.latest, self._last[engine][0])

    @property
    def worked(self) -> bool:
        """Whether any request ran."""
        return any(slices.gaps or slices.total().cycles > 0 for slices in self.engines.values())

    def requests(self) -> int:
        """How many requests finished."""
        return int(sum(slices.total().finished for slices in self.engines.values()))
