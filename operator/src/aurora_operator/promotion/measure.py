"""Time slices as the units of a comparison: what an engine does in one shares its pod, its load and its moment."""

from collections import defaultdict
from collections.abc import Callable, Mapping

from aurora_operator.promotion.counters import Row, plus
from aurora_operator.promotion.statistics import Sums

Slices = Mapping[int, Row]
"""What was added in each time slice."""


def closed_slices(found: Mapping[str, Slices], now: int) -> dict[str, Slices]:
    """Without the slice that runs now, whose requests are still to end."""
    return {engine: {at: row for at, row in slices.items() if at < now} for engine, slices in found.items()}


def by_slice(found: Mapping[str, Slices], mine: Callable[[int], bool]) -> Sums:
    """Slices of all engines together as units (Switchback: all serve the same side).

    Args:
        found: a side's slices, by engine.
        mine: whether a slice is this side's.
    """
    together: dict[int, Row] = {}
    for slices in found.values():
        for at, row in slices.items():
            together[at] = plus(together.get(at), row)
    return _units(together, mine)


def by_engine_slice(found: Mapping[str, Slices], other: Mapping[str, Slices]) -> Sums:
    """Slices of each engine as units (Canary: each serves a side of its own).

    Which side an engine served in a slice is what most of its work there was for.

    Args:
        found: a side's slices, by engine.
        other: those of the side beside it.
    """
    out = Sums()
    for engine, slices in found.items():
        beside = other.get(engine, {})
        served = {at for at, row in slices.items() if row[2] > (beside[at][2] if at in beside else 0.0)}
        out += _units(slices, served.__contains__)
    return out


def _units(slices: Slices, mine: Callable[[int], bool]) -> Sums:
    """Slices as units.

    A request counts when it ends, which may be after the slice that served it; so what is added in the other side's
    slice belongs to this side's last slice before.
    """
    out: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for found, row in sorted(slices.items()):
        at = found
        while at > 0 and not mine(at):
            at -= 1
        out[at][0] += row[1]
        out[at][1] += row[2]
    return Sums.of((x, y) for x, y in out.values() if x > 0 and y > 0)
