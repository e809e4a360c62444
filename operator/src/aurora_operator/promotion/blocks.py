"""From what engines did in each time slice to the blocks of a trial: two slices, in which a coin dealt the arms.

Switchback: all engines serve one arm in the first slice of a block and the other arm in the second; the coin says in
which order. Canary: two disjoint sets of engines serve the candidate in one slice each and stable in the other, the
coin says which set begins; each engine is its own control, so that neither a slower engine nor a busier slice counts
for or against the candidate.

Each arm has counters of its own, so work is never credited to the wrong arm. Where two scrapes enclose the border of
two slices, work of an arm that served in only one of them belongs to that one; else it is split by time.
"""

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aurora_operator.promotion.counters import Counters, Row, Slices
from aurora_operator.promotion.eprocess import LOST, Block
from aurora_operator.promotion.statistics import Sums

WARM_UP = 1
"""Blocks at a trial's start that do not count: the candidate's prefix caches are cold, and stable's are not."""
MAJORITY = 0.5
"""Share of a slice's work that the desired arm must have done. No more than that, because a slice in which the swap
came late must not void the block: whether it comes late depends on the coin, and what counts must not."""

Side = Literal["candidate", "stable"]
_NOTHING = Row()
Pairs = Sequence[tuple[Row, Row]]
"""Of a block: what the candidate did in a slice, and what stable did in the one that is its control."""


@dataclass(frozen=True)
class Measure:
    """What blocks compare.

    Attributes:
        value: of what an arm did in a slice; None where that has none. A block's difference is the candidate's less
            stable's.
        weight: how much that was.
        ratio: x and y where the value is the log of x / y.
    """

    value: Callable[[Row], float | None]
    weight: Callable[[Row], float]
    ratio: Callable[[Row], tuple[float, float]] | None = None


def _ratio(
    x: Callable[[Row], float], y: Callable[[Row], float], weight: Callable[[Row], float] | None = None
) -> Measure:
    """Of x over y, weighed by x where nothing else is given."""

    def value(row: Row) -> float | None:
        top, bottom = x(row), y(row)
        return math.log(top / bottom) if top > 0 and bottom > 0 and 0 < top / bottom < math.inf else None

    return Measure(value, weight or x, lambda row: (x(row), y(row)))


def _failed_share(row: Row) -> float | None:
    ended = row.finished + row.aborted + row.failed
    return (row.aborted + row.failed) / ended if ended > 0 else None


MEASURES: Mapping[str, Measure] = {
    "AcceptLength": _ratio(lambda row: row.tokens, lambda row: row.cycles),
    "DecodeSpeed": _ratio(lambda row: row.timed_tokens, lambda row: row.seconds),
    "FirstToken": _ratio(lambda row: row.first_seconds, lambda row: row.first_tokens, lambda row: row.first_tokens),
    "Failures": Measure(_failed_share, lambda row: row.finished + row.aborted + row.failed),
}
"""Log of tokens per verify cycle, of tokens per second, of seconds to the first token; share of requests that ended
without an answer."""


@dataclass(frozen=True)
class Dealt:
    """The blocks of a trial.

    Attributes:
        pairs: of each block that counts, in order.
        void: closed blocks with work that do not count.
        numbers: of the blocks that count, in order.
        lost: numbers of those that were cut short.
    """

    pairs: tuple[Pairs, ...] = ()
    void: int = 0
    numbers: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What a trial amounts to so far by one measure.

    Attributes:
        blocks: those that count, and those that were cut short, in order.
        void: closed blocks with work that do not count.
        candidate, stable: of a ratio, sums over the slices of blocks that count, as units.
    """

    blocks: tuple[Block, ...] = ()
    void: int = 0
    candidate: Sums = field(default_factory=Sums)
    stable: Sums = field(default_factory=Sums)

    @property
    def counted(self) -> tuple[Block, ...]:
        """Those that count."""
        return tuple(block for block in self.blocks if not block.lost)


def _block(pairs: Pairs, measure: Measure) -> Block | None:
    """A block by a measure; None where an arm has no value in it."""
    values = [(measure.value(top), measure.value(bottom)) for top, bottom in pairs]
    differences = [top - bottom for top, bottom in values if top is not None and bottom is not None]
    if len(differences) < len(pairs):
        return None
    weights = [measure.weight(row) for pair in pairs for row in pair]
    return Block(sum(differences) / len(differences), len(weights) / sum(1 / weight for weight in weights))


def numbered(dealt: Dealt, measure: Measure) -> dict[int, Block]:
    """The blocks by a measure, by their numbers since the trial began; those that were cut short among them."""
    found = zip(dealt.numbers, (_block(pairs, measure) for pairs in dealt.pairs), strict=True)
    counted = {number: block for number, block in found if block is not None}
    return dict(sorted((counted | dict.fromkeys(dealt.lost, LOST)).items()))


def measured(dealt: Dealt, measure: Measure) -> Trial:
    """The blocks by a measure; those in which an arm has no value are void."""
    blocks = numbered(dealt, measure)
    tops, bottoms = [], []
    for number, pairs in zip(dealt.numbers, dealt.pairs, strict=True):
        if number in blocks and measure.ratio is not None:
            tops += [measure.ratio(top) for top, _ in pairs]
            bottoms += [measure.ratio(bottom) for _, bottom in pairs]
    void = dealt.void + len(dealt.pairs) + len(dealt.lost) - len(blocks)
    return Trial(tuple(blocks.values()), void, Sums.of(tops), Sums.of(bottoms))


@dataclass
class _Cell:
    """What was done in one slice under each arm, by one engine or by all."""

    candidate: Row = _NOTHING
    stable: Row = _NOTHING
    known: bool = True

    def served(self, side: Side) -> bool:
        """Whether most of the verify cycles were this arm's."""
        mine, other = (self.candidate, self.stable) if side == "candidate" else (self.stable, self.candidate)
        return mine.cycles > MAJORITY * (mine.cycles + other.cycles)

    @property
    def worked(self) -> bool:
        """Whether anything was done in it."""
        return self.candidate.cycles + self.stable.cycles > 0 or not self.known

    def __add__(self, other: "_Cell") -> "_Cell":
        return _Cell(self.candidate.plus(other.candidate), self.stable.plus(other.stable), self.known and other.known)


def by_slice(slices: Slices, serves: Callable[[int], bool | None]) -> dict[int, Row]:
    """An arm's work in each slice; ``serves`` is whether it was to serve in a slice, None where that is unknown."""
    out = dict(slices.inside)
    for at, (share, row) in slices.across.items():
        before, after = serves(at), serves(at + 1)
        if before is not after and None not in (before, after):
            share = 1.0 if before else 0.0  # noqa: PLW2901 (one of two cases)
        out[at] = out.get(at, Row()).plus(row.times(share))
        out[at + 1] = out.get(at + 1, Row()).plus(row.times(1 - share))
    return out


def _cells(candidate: Slices, stable: Slices, desired: Callable[[int], Side | None]) -> dict[int, _Cell]:
    """One engine's cells."""

    def serves(side: Side) -> Callable[[int], bool | None]:
        return lambda at: None if (found := desired(at)) is None else found == side

    tops, bottoms = by_slice(candidate, serves("candidate")), by_slice(stable, serves("stable"))
    gaps = candidate.gaps | stable.gaps
    return {
        at: _Cell(tops.get(at, Row()), bottoms.get(at, Row()), at not in gaps)
        for at in tops.keys() | bottoms.keys() | gaps
    }


def _served(candidate: Slices, stable: Slices) -> Callable[[int], Side | None]:
    """Which arm an engine served in a slice, by what it did between the slice's own scrapes."""

    def served(at: int) -> Side | None:
        top, bottom = candidate.inside.get(at, Row()).cycles, stable.inside.get(at, Row()).cycles
        return None if top == bottom else "candidate" if top > bottom else "stable"

    return served


def _dealt(pairs_of: Callable[[int], tuple[bool, Pairs | None]], closed: int, cut: Collection[int]) -> Dealt:
    """Blocks from what is known of each: whether anything was done in it, and its pairs where it counts."""
    over = range(WARM_UP, closed // 2)
    both = {block: pairs_of(block) for block in over if block not in cut}
    counted = {block: pairs for block, (_, pairs) in both.items() if pairs is not None}
    void = sum(worked for worked, pairs in both.values() if pairs is None)
    return Dealt(tuple(counted.values()), void, tuple(counted), tuple(block for block in over if block in cut))


def switchback(
    candidate: Counters, stable: Counters, mine: Callable[[int], bool], closed: int, cut: Collection[int] = ()
) -> Dealt:
    """Blocks where all engines serve one arm at a time.

    Args:
        candidate, stable: of the two arms.
        mine: whether a slice is the candidate's, by the coin.
        closed: slices before this one are over.
        cut: blocks that were cut short.
    """
    together: dict[int, _Cell] = {}
    for engine in candidate.engines.keys() | stable.engines.keys():
        mine_of, other = candidate.engines.get(engine, Slices()), stable.engines.get(engine, Slices())
        for at, cell in _cells(mine_of, other, lambda at: "candidate" if mine(at) else "stable").items():
            together[at] = together[at] + cell if at in together else cell

    def pairs(block: int) -> tuple[bool, Pairs | None]:
        first, second = (together.get(at, _Cell()) for at in (2 * block, 2 * block + 1))
        top, bottom = (first, second) if mine(2 * block) else (second, first)
        counts = first.known and second.known and top.served("candidate") and bottom.served("stable")
        return first.worked or second.worked, [(top.candidate, bottom.stable)] if counts else None

    return _dealt(pairs, closed, cut)


def crossover(candidate: Counters, stable: Counters, closed: int, cut: Collection[int] = ()) -> Dealt:
    """Blocks where some engines serve the candidate in the first slice, and others in the second.

    Which engine did is read from what it did: one that came, left or did not change arms in a block is left out of it.
    Arguments as for :func:`switchback`.
    """
    engines: list[Mapping[int, _Cell]] = []
    for engine in candidate.engines.keys() | stable.engines.keys():
        mine, other = candidate.engines.get(engine, Slices()), stable.engines.get(engine, Slices())
        engines.append(_cells(mine, other, _served(mine, other)))

    def pairs(block: int) -> tuple[bool, Pairs | None]:
        both = [tuple(cells.get(at, _Cell()) for at in (2 * block, 2 * block + 1)) for cells in engines]
        worked = any(first.candidate.cycles + second.candidate.cycles > 0 for first, second in both)
        known = [(first, second) for first, second in both if first.known and second.known]
        began = [(a.candidate, b.stable) for a, b in known if a.served("candidate") and b.served("stable")]
        ended = [(b.candidate, a.stable) for a, b in known if a.served("stable") and b.served("candidate")]
        return worked, [_together(began), _together(ended)] if began and ended else None

    return _dealt(pairs, closed, cut)


def _together(pairs: Pairs) -> tuple[Row, Row]:
    """A set of engines as one."""
    tops, bottoms = zip(*pairs, strict=True)
    return functools.reduce(Row.plus, tops), functools.reduce(Row.plus, bottoms)


def units(counters: Counters) -> Sums:
    """An arm's tokens and cycles, time slices of all engines together as units."""
    together: dict[int, Row] = {}
    for slices in counters.engines.values():
        for at, row in by_slice(slices, lambda _: None).items():
            together[at] = together.get(at, Row()).plus(row)
    return Sums.of((row.tokens, row.cycles) for row in together.values() if row.cycles > 0)
