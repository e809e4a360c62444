"""What stable does while nothing is on trial: windows to watch it, and the differences that blocks would have."""

import math
from collections.abc import Callable, Mapping

from aurora_operator.promotion.blocks import MEASURES, by_slice, units
from aurora_operator.promotion.counters import Counters, Row
from aurora_operator.promotion.forecast import FEWEST_BLOCKS, Metric, Pace, livelier, pace
from aurora_operator.promotion.watch import FEWEST, Watch, Window

LATELY_BLOCKS = 10
"""Traffic that came back counts at once: the livelier of so many blocks, and of all that are known."""
LONGER = (2, 4, 8, 16)
"""Times as long as gate.sliceSeconds that slices of a trial may be."""
_Rows = Mapping[int, Row]


def _joined(rows: _Rows, closed: int, since: float, length: float) -> tuple[Window, ...]:
    """Slices, joined until each window has enough requests."""
    out, gathered = [], Row()
    for at in range(closed):
        gathered = gathered.plus(rows.get(at, Row()))
        if gathered.finished >= FEWEST and gathered.tokens > 0 and gathered.cycles > 0:
            out.append(Window(since + (at + 1) * length, math.log(gathered.tokens / gathered.cycles)))
            gathered = Row()
    return tuple(out)


def _together(engines: list[_Rows]) -> dict[int, Row]:
    out: dict[int, Row] = {}
    for rows in engines:
        for at, row in rows.items():
            out[at] = out.get(at, Row()).plus(row)
    return out


def differences(
    engines: list[_Rows], value: Callable[[Row], float | None], blocks: range, canaries: int
) -> list[float]:
    """What blocks' differences would be under two drafts that are the same.

    Args:
        engines: stable's work by slice, of each.
        value: of a slice's work, on the scale of differences; None where it has none.
        blocks: pairs of slices.
        canaries: engines in each of the two sets of a canary; 0 where all engines change arms at once.
    """
    size = min(canaries, len(engines) // 2)
    sets = [_together(engines[:size]), _together(engines[size : 2 * size])] if size else [_together(engines)]
    out = []
    for block in blocks:
        halves = []
        for number, rows in enumerate(sets):
            first, second = (value(rows[at]) if at in rows else None for at in (2 * block, 2 * block + 1))
            if first is not None and second is not None:
                halves.append(first - second if number == 0 else second - first)
        if len(halves) == len(sets):
            out.append(sum(halves) / len(halves))
    return out


def watched(counters: Counters, metric: Metric, length: float, settled: float, canaries: int) -> Watch:
    """Stable's counters as what is watched.

    Args:
        counters: of stable.
        metric: that the next trial compares.
        length: of a time slice in seconds.
        settled: seconds since the epoch at which the last trial ended: before it, stable served only in part.
        canaries: as in :func:`differences`.
    """
    since, latest = counters.since, counters.latest
    closed = max(0, int((latest - since) // length))
    engines: list[_Rows] = [by_slice(slices, lambda _: None) for _, slices in sorted(counters.engines.items())]
    together = _together(engines)
    # The slice in which a trial ended, and the swap with it, is left out.
    begun = 0 if settled <= since else int((settled - since) // length) + 1
    blocks = range((begun + 1) // 2, closed // 2)

    def found_in(blocks: range) -> Pace | None:
        seconds = 2 * length * len(blocks)
        requests = sum(together[at].finished for b in blocks for at in (2 * b, 2 * b + 1) if at in together)
        return pace(metric, differences(engines, MEASURES[metric].value, blocks, canaries), seconds, requests)

    found = livelier(found_in(blocks), found_in(blocks[-LATELY_BLOCKS:]))
    all_longer = {times: _longer(engines, metric, begun, closed, times, length, canaries) for times in LONGER}
    longer = {times: one for times, one in all_longer.items() if one is not None}
    return Watch(units(counters), counters.requests(), _joined(together, closed, since, length), found, longer)


def _longer(
    engines: list[_Rows], metric: Metric, begun: int, closed: int, times: int, length: float, canaries: int
) -> Pace | None:
    """The pace with slices so many times as long; None where there are too few of them to say."""
    joined: list[_Rows] = []
    for rows in engines:
        together: dict[int, Row] = {}
        for at, row in rows.items():
            together[at // times] = together.get(at // times, Row()).plus(row)
        joined.append(together)
    first = -(-begun // times)
    blocks = range((first + 1) // 2, closed // times // 2)
    known = differences(joined, MEASURES[metric].value, blocks, canaries)
    inside = range(2 * times * blocks.start, 2 * times * blocks.stop)
    requests = sum(rows[at].finished for rows in engines for at in inside if at in rows)
    return pace(metric, known, 2 * times * length * len(blocks), requests) if len(known) >= FEWEST_BLOCKS else None
