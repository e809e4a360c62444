"""From raw counter samples, as Prometheus stores them, to what was added: exact under resets, restarts, duplicates."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aurora_core.protocol import metrics

from aurora_operator.promotion.statistics import Sums

Metric = Literal["AcceptLength", "DecodeSpeed"]

_READ: Mapping[Metric, tuple[metrics.Metric, ...]] = {
    "AcceptLength": (
        metrics.ACCEPT_OBSERVATIONS, metrics.ACCEPT_TOKENS, metrics.ACCEPT_CYCLES,
        metrics.ACCEPT_TOKENS_SQUARED, metrics.ACCEPT_TOKENS_CYCLES, metrics.ACCEPT_CYCLES_SQUARED,
    ),
    "DecodeSpeed": (
        metrics.DECODE_OBSERVATIONS, metrics.DECODE_TOKENS, metrics.DECODE_SECONDS,
        metrics.DECODE_TOKENS_SQUARED, metrics.DECODE_TOKENS_SECONDS, metrics.DECODE_SECONDS_SQUARED,
    ),
}  # fmt: skip
NAMES: Mapping[Metric, tuple[str, ...]] = {name: tuple(map(str, read)) for name, read in _READ.items()}
"""For each metric the counters of n, Σx, Σy, Σx², Σxy, Σy²."""


LARGEST = 1e24
"""Of a counter: a sum of squares of a trillion tokens."""


@dataclass(frozen=True)
class Series:
    """A counter's raw samples: its labels, and (seconds since the epoch, value) ascending."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Arm:
    """One side: a draft version and the steps that it drafts."""

    version: int
    steps: int


Row = tuple[float, ...]
"""The six counters, or by how much each of them grew."""
_At = tuple[float, Row]


def _rows(series: Sequence[Series], names: Sequence[str]) -> list[_At]:
    """One scrape target's six counters, joined at the scrapes that have all six."""
    by_name = {one.labels["__name__"]: dict(one.samples) for one in series}
    if any(name not in by_name for name in names):
        return []
    times = set.intersection(*(set(by_name[name]) for name in names))
    return [(time, tuple(by_name[name][time] for name in names)) for time in sorted(times)]


def is_possible(row: Row) -> bool:
    """Whether a scrape can be of counters that count: finite, not negative, and no larger than anything counted here.

    What is not possible comes from a broken or a hostile source, and proves nothing.
    """
    return all(math.isfinite(value) and 0 <= value <= LARGEST for value in row)


def plus(one: Row | None, other: Row) -> Row:
    """Both together; None is nothing yet."""
    return other if one is None else tuple(map(sum, zip(one, other, strict=True)))


def increments(rows: Sequence[_At], since: float, *, from_zero: bool, last: _At | None = None) -> list[_At]:
    """What was added between scrapes after ``since``, each at the time of the scrape that saw it.

    A counter that went down was reset: all it shows was added since. The last scrape before ``since`` is the
    baseline; without one it is zero where the series was from_zero within the window (a version that never served
    before), and else the first scrape itself, so that nothing of before is ever counted.

    Args:
        rows: scrapes, ascending.
        since: start of the window.
        from_zero: whether the series cannot have existed before the window.
        last: the newest scrape that was seen already; what is not newer is left out.
    """
    out: list[_At] = []
    for time, row in rows:
        if last is not None and time <= last[0]:
            continue
        if time > since:
            base = last[1] if last is not None else ((0.0,) * len(row) if from_zero else row)
            if any(new < old for new, old in zip(row, base, strict=True)):
                base = (0.0,) * len(row)
            out.append((time, tuple(new - old for new, old in zip(row, base, strict=True))))
        last = time, row
    return out


class Counters:
    """What one side's counters added since a moment, for each engine and time slice; read piece by piece.

    Args:
        metric: which six counters.
        arm: which side.
        since: the moment, in seconds since the epoch.
        from_zero: whether the side cannot have served before it.
        index: the time slice of a time.
        trusted: whether a series, by its labels, is of one of the engines that are compared.

    Attributes:
        slices: by engine and slice, what was added.
        refused: scrapes with values that no counter can have.
    """

    def __init__(
        self,
        metric: Metric,
        arm: Arm,
        since: float,
        *,
        from_zero: bool,
        index: Callable[[float], int] = lambda _: 0,
        trusted: Callable[[Mapping[str, str]], bool] = lambda _: True,
    ) -> None:
        self.slices: dict[str, dict[int, Row]] = {}
        self._names = NAMES[metric]
        self._labels = {metrics.VERSION: str(arm.version), metrics.STEPS: str(arm.steps)}
        self._since = since
        self._from_zero = from_zero
        self._index = index
        self._trusted = trusted
        self._last: dict[str, _At] = {}
        self.refused = 0

    def add(self, series: Sequence[Series]) -> None:
        """Take in a piece of time, not before any other; what overlaps with the piece before counts once.

        The same engine may be scraped by two jobs or two replicas of Prometheus; of such duplicates the one with the
        most scrapes counts.
        """
        engines: dict[str, dict[tuple[tuple[str, str], ...], list[Series]]] = defaultdict(lambda: defaultdict(list))
        for one in series:
            named = one.labels.get("__name__") in self._names
            if named and self._labels.items() <= one.labels.items() and self._trusted(one.labels):
                scrape = tuple(sorted((k, v) for k, v in one.labels.items() if k != "__name__"))
                engines[one.labels.get(metrics.ENGINE, "")][scrape].append(one)
        for engine, duplicates in engines.items():
            scrapes = max((_rows(duplicate, self._names) for duplicate in duplicates.values()), key=len)
            rows = [(time, row) for time, row in scrapes if is_possible(row)]
            self.refused += len(scrapes) - len(rows)
            slices = self.slices.setdefault(engine, {})
            for time, row in increments(rows, self._since, from_zero=self._from_zero, last=self._last.get(engine)):
                at = self._index(time)
                slices[at] = plus(slices.get(at), row)
            if rows:
                self._last[engine] = max(rows[-1], self._last.get(engine, rows[-1]))

    def requests(self) -> Sums:
        """All of it, requests as units."""
        return sum((Sums(*row) for slices in self.slices.values() for row in slices.values()), Sums())
