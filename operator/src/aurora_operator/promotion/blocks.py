"""From what engines did in each time slice to the blocks of a trial: two slices, in which a coin dealt the arms.

Switchback: all engines serve one arm in the first slice of a block and the other arm in the second; the coin says in
which order. Canary: two disjoint sets of engines serve the candidate in one slice each and stable in the other, the
coin says which set begins; each engine is its own control, so that neither a slower engine nor a busier slice counts
for or against the candidate.

Each arm has counters of its own, so work is never credited to the wrong arm. Where two scrapes enclose the border of
two slices, work of an arm that served in only one of them belongs to that one; else it is split by time.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aurora_operator.promotion.counters import Counters, Row, Slices, plus
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.statistics import Sums

WARM_UP = 1
"""Blocks at a trial's start that do not count: the candidate's prefix caches are cold, and stable's are not."""
MAJORITY = 0.5
"""Share of a slice's work that the desired arm must have done. No more than that, because a slice in which the swap
came late must not void the block: whether it comes late depends on the coin, and what counts must not."""

Side = Literal["candidate", "stable"]
_NOTHING: Row = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Trial:
    """What a trial's counters amount to so far.

    Attributes:
        blocks: those that count, in order.
        void: closed blocks with work that do not count.
        candidate, stable: sums over the slices of blocks that count, as units.
    """

    blocks: tuple[Block, ...] = ()
    void: int = 0
    candidate: Sums = field(default_factory=Sums)
    stable: Sums = field(default_factory=Sums)


@dataclass
class _Cell:
    """What was done in one slice under each arm, by one engine or by all."""

    candidate: Row = _NOTHING
    stable: Row = _NOTHING
    known: bool = True

    def of(self, side: Side) -> Row:
        return self.candidate if side == "candidate" else self.stable

    def share(self, side: Side) -> float:
        total = self.candidate[2] + self.stable[2]
        return self.of(side)[2] / total if total > 0 else 0.0

    def __add__(self, other: "_Cell") -> "_Cell":
        return _Cell(plus(self.candidate, other.candidate), plus(self.stable, other.stable), self.known and other.known)


def _scaled(row: Row, share: float) -> Row:
    return tuple(value * share for value in row)


def _by_slice(slices: Slices, serves: Callable[[int], bool | None]) -> dict[int, Row]:
    """An arm's work in each slice; ``serves`` is whether it was to serve in a slice, None where that is unknown."""
    out = dict(slices.inside)
    for at, (share, row) in slices.across.items():
        before, after = serves(at), serves(at + 1)
        if before is not after and None not in (before, after):
            share = 1.0 if before else 0.0  # noqa: PLW2901 (one of two cases)
        out[at] = plus(out.get(at), _scaled(row, share))
        out[at + 1] = plus(out.get(at + 1), _scaled(row, 1 - share))
    return out


def _cells(candidate: Slices, stable: Slices, desired: Callable[[int], Side | None]) -> dict[int, _Cell]:
    """One engine's cells."""

    def serves(side: Side) -> Callable[[int], bool | None]:
        return lambda at: None if (found := desired(at)) is None else found == side

    tops, bottoms = _by_slice(candidate, serves("candidate")), _by_slice(stable, serves("stable"))
    gaps = candidate.gaps | stable.gaps
    return {
        at: _Cell(tops.get(at, _NOTHING), bottoms.get(at, _NOTHING), at not in gaps)
        for at in tops.keys() | bottoms.keys() | gaps
    }


def _served(candidate: Slices, stable: Slices) -> Callable[[int], Side | None]:
    """Which arm an engine served in a slice, by what it did between the slice's own scrapes."""

    def served(at: int) -> Side | None:
        top, bottom = candidate.inside.get(at, _NOTHING)[2], stable.inside.get(at, _NOTHING)[2]
        return None if top == bottom else "candidate" if top > bottom else "stable"

    return served


def _log_ratio(row: Row) -> float | None:
    _, x, y = row
    return math.log(x / y) if x > 0 and y > 0 and math.isfinite(x / y) and x / y > 0 else None


def _block(pairs: list[tuple[Row, Row]]) -> Block | None:
    """A block from pairs of a candidate's cell and the stable one that is its control; None where one is empty."""
    differences, work = [], []
    for top, bottom in pairs:
        above, below = _log_ratio(top), _log_ratio(bottom)
        if above is None or below is None:
            return None
        differences.append(above - below)
        work += [top[1], bottom[1]]
    return Block(sum(differences) / len(differences), len(work) / sum(1 / x for x in work))


def _counted(pairs_of: Iterable[tuple[bool, list[tuple[Row, Row]] | None]]) -> Trial:
    """Blocks from what is known of each: whether anything was done in it, and its pairs where it counts."""
    blocks, tops, bottoms, void = [], [], [], 0
    for worked, pairs in pairs_of:
        block = _block(pairs) if pairs else None
        if block is None or pairs is None:
            void += worked
            continue
        blocks.append(block)
        tops += [(top[1], top[2]) for top, _ in pairs]
        bottoms += [(bottom[1], bottom[2]) for _, bottom in pairs]
    return Trial(tuple(blocks), void, Sums.of(tops), Sums.of(bottoms))


def switchback(candidate: Counters, stable: Counters, mine: Callable[[int], bool], closed: int) -> Trial:
    """Blocks where all engines serve one arm at a time.

    Args:
        candidate, stable: of the two arms.
        mine: whether a slice is the candidate's, by the coin.
        closed: slices before this one are over.
    """
    together: dict[int, _Cell] = {}
    for engine in candidate.engines.keys() | stable.engines.keys():
        mine_of, other = candidate.engines.get(engine, Slices()), stable.engines.get(engine, Slices())
        for at, cell in _cells(mine_of, other, lambda at: "candidate" if mine(at) else "stable").items():
            together[at] = together[at] + cell if at in together else cell

    def pairs(block: int) -> tuple[bool, list[tuple[Row, Row]] | None]:
        first, second = (together.get(at, _Cell()) for at in (2 * block, 2 * block + 1))
        top, bottom = (first, second) if mine(2 * block) else (second, first)
        served = top.share("candidate") >= MAJORITY and bottom.share("stable") >= MAJORITY
        worked = any(cell.candidate[2] + cell.stable[2] > 0 or not cell.known for cell in (first, second))
        counts = served and first.known and second.known
        return worked, [(top.candidate, bottom.stable)] if counts else None

    return _counted(pairs(block) for block in range(WARM_UP, closed // 2))


def crossover(candidate: Counters, stable: Counters, closed: int) -> Trial:
    """Blocks where some engines serve the candidate in the first slice, and others in the second.

    Which engine did is read from what it did: one that came, left or did not change arms in a block is left out of it.
    Arguments as for :func:`switchback`.
    """
    engines: dict[str, Mapping[int, _Cell]] = {}
    for engine in candidate.engines.keys() | stable.engines.keys():
        mine, other = candidate.engines.get(engine, Slices()), stable.engines.get(engine, Slices())
        engines[engine] = _cells(mine, other, _served(mine, other))

    def pairs(block: int) -> tuple[bool, list[tuple[Row, Row]] | None]:
        began: _Cell | None = None
        ended: _Cell | None = None
        controls: list[Row] = [_NOTHING, _NOTHING]
        worked = False
        for cells in engines.values():
            first, second = (cells.get(at, _Cell()) for at in (2 * block, 2 * block + 1))
            worked = worked or first.candidate[2] + second.candidate[2] > 0
            if not (first.known and second.known):
                continue
            if first.share("candidate") > MAJORITY and second.share("stable") > MAJORITY:
                began = first if began is None else began + first
                controls[0] = plus(controls[0], second.stable)
            elif first.share("stable") > MAJORITY and second.share("candidate") > MAJORITY:
                ended = second if ended is None else ended + second
                controls[1] = plus(controls[1], first.stable)
        if began is None or ended is None:
            return worked, None
        return worked, [(began.candidate, controls[0]), (ended.candidate, controls[1])]

    return _counted(pairs(block) for block in range(WARM_UP, closed // 2))


def units(counters: Counters) -> Sums:
    """An arm's work, time slices of all engines together as units."""
    together: dict[int, Row] = {}
    for slices in counters.engines.values():
        for at, row in _by_slice(slices, lambda _: None).items():
            together[at] = plus(together.get(at), row)
    return Sums.of((row[1], row[2]) for row in together.values() if row[1] > 0 and row[2] > 0)
