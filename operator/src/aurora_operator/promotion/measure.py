"""From raw counter samples, as Prometheus stores them, to sums: exact under resets, restarts and duplicates."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aurora_operator.promotion.statistics import Sums

Metric = Literal["AcceptLength", "DecodeSpeed"]

NAMES: Mapping[Metric, tuple[str, ...]] = {
    "AcceptLength": (
        "aurora_accept_observations_total", "aurora_accept_tokens_total", "aurora_accept_cycles_total",
        "aurora_accept_tokens_squared_total", "aurora_accept_tokens_cycles_total",
        "aurora_accept_cycles_squared_total",
    ),
    "DecodeSpeed": (
        "aurora_decode_observations_total", "aurora_decode_tokens_total", "aurora_decode_seconds_total",
        "aurora_decode_tokens_squared_total", "aurora_decode_tokens_seconds_total",
        "aurora_decode_seconds_squared_total",
    ),
}  # fmt: skip
"""For each metric the counters of n, Σx, Σy, Σx², Σxy, Σy²."""


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


_Row = tuple[float, ...]
_Increment = tuple[float, _Row]


def _rows(series: Sequence[Series], names: Sequence[str]) -> list[tuple[float, _Row]]:
    """One scrape target's six counters, joined at the scrapes that have all six; NaN scrapes are left out."""
    by_name = {one.labels["__name__"]: dict(one.samples) for one in series}
    if any(name not in by_name for name in names):
        return []
    times = set.intersection(*(set(by_name[name]) for name in names))
    rows = [(time, tuple(by_name[name][time] for name in names)) for time in sorted(times)]
    return [(time, row) for time, row in rows if all(value == value for value in row)]  # noqa: PLR0124 (NaN)


def increments(rows: Sequence[tuple[float, _Row]], since: float, *, born: bool) -> list[_Increment]:
    """What was added between scrapes after ``since``.

    A counter that went down was reset: all it shows was added since. The last scrape before ``since`` is the
    baseline; without one it is zero where the series was born within the window (a version that never served
    before), and else the first scrape itself, so that nothing of before is ever counted.

    Args:
        rows: scrapes, ascending.
        since: start of the window.
        born: whether the series cannot have existed before the window.
    """
    out: list[_Increment] = []
    before = [row for time, row in rows if time <= since]
    after = [(time, row) for time, row in rows if time > since]
    zero = (0.0,) * (len(rows[0][1]) if rows else 0)
    if before:
        last = before[-1]
    elif born:
        last = zero
    else:
        last = after[0][1] if after else zero
    for time, row in after:
        base = zero if any(new < old for new, old in zip(row, last, strict=True)) else last
        out.append((time, tuple(new - old for new, old in zip(row, base, strict=True))))
        last = row
    return out


def arm_increments(series: Sequence[Series], metric: Metric, arm: Arm, since: float, *, born: bool) -> list[_Increment]:
    """All engines' increments of one side, ascending in time.

    The same engine may be scraped by two jobs or two replicas of Prometheus; of such twins the one with the most
    scrapes speaks.
    """
    names = NAMES[metric]
    wanted = {"version": str(arm.version), "steps": str(arm.steps)}
    engines: dict[str, dict[tuple[tuple[str, str], ...], list[Series]]] = defaultdict(lambda: defaultdict(list))
    for one in series:
        if one.labels.get("__name__") in names and all(one.labels.get(k) == v for k, v in wanted.items()):
            scrape = tuple(sorted((k, v) for k, v in one.labels.items() if k != "__name__"))
            engines[one.labels.get("engine", "")][scrape].append(one)
    out: list[_Increment] = []
    for twins in engines.values():
        rows = max((_rows(twin, names) for twin in twins.values()), key=len)
        out += increments(rows, since, born=born)
    return sorted(out)


def by_request(found: Sequence[_Increment]) -> Sums:
    """Requests as units."""
    return sum((Sums(*row) for _, row in found), Sums())


def by_slice(found: Sequence[_Increment], index: Callable[[float], int], mine: Callable[[int], bool]) -> Sums:
    """Time slices as units.

    A request counts when it ends, which may be after the slice that served it; so what is added in the other side's
    slice belongs to this side's last slice before.

    Args:
        found: increments, ascending.
        index: the slice of a time.
        mine: whether a slice is this side's.
    """
    slices: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for time, row in found:
        at = index(time)
        while at > 0 and not mine(at):
            at -= 1
        slices[at][0] += row[1]
        slices[at][1] += row[2]
    return Sums.of((x, y) for x, y in slices.values() if x > 0 and y > 0)
