"""How long a trial takes at the traffic of now, before it begins and while it runs.

It follows from the spread of a block's difference. The bets of :mod:`aurora_operator.promotion.eprocess` grow by
E[log(1 + λ f)] with each block on average. With normal differences of a known spread that is a sum over quantiles, and
the number of blocks after which the stake has grown to 1 / α is the forecast: about half of the trials of a draft with
just this effect end sooner. It decides no verdict.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Forecast
from aurora_operator.promotion.eprocess import BETS, FIRST_SCALE, Block

EFFECTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Improvements beyond the bar that a forecast is about. A trial that could not prove the largest is not begun."""
FEWEST_BLOCKS = 6
"""Fewer prove nothing, and say too little of a spread."""
LONG_SECONDS = 1800.0
WIDE = 0.5
"""Standard deviation of blocks of a request or two, on the log scale."""
SOONER = 0.8
"""Share of the time that longer slices must need at most, to be taken."""
_USUAL = 0.05
ALIKE = 1.25
"""Numbers that differ by less than this factor are the same forecast, so that a status at rest is not written."""
_QUANTILES = tuple(NormalDist().inv_cdf((i + 0.5) / 15) for i in range(15))
_EXACT = 60
"""Blocks that are followed one by one; from then on the scale is the spread's."""

Metric = Literal["AcceptLength", "DecodeSpeed"]


@dataclass(frozen=True)
class Pace:
    """How fast evidence comes.

    Attributes:
        metric: what blocks compare.
        spread: standard deviation of a block's difference, a log ratio.
        seconds_per_block: between two blocks that count, void ones included.
        requests_per_minute: that finish.
    """

    metric: Metric
    spread: float
    seconds_per_block: float
    requests_per_minute: float


def pace(metric: Metric, differences: Sequence[float], seconds: float, requests: float) -> Pace | None:
    """The pace of so many blocks and requests in so many seconds; None where that is too little to say.

    After half an hour few blocks are an answer: traffic is rare, and blocks are taken to differ as much as they may.
    """
    known = [one for one in differences if math.isfinite(one)]
    if len(known) < FEWEST_BLOCKS and seconds >= LONG_SECONDS:
        return Pace(metric, WIDE, seconds / max(len(known), 1e-6), 60 * requests / seconds)
    if len(known) < FEWEST_BLOCKS or seconds <= 0:
        return None
    mean = sum(known) / len(known)
    spread = math.sqrt(sum((one - mean) ** 2 for one in known) / (len(known) - 1))
    return Pace(metric, spread, seconds / len(known), 60 * requests / seconds)


def livelier(one: Pace | None, other: Pace | None) -> Pace | None:
    """The spread of the first, where it is known, and the faster of both."""
    if one is None or other is None:
        return one or other
    return Pace(
        one.metric,
        one.spread,
        min(one.seconds_per_block, other.seconds_per_block),
        max(one.requests_per_minute, other.requests_per_minute),
    )


def of_trial(metric: Metric, blocks: Sequence[Block], seconds: float, requests: float) -> Pace | None:
    """The pace of a trial so far."""
    return pace(metric, [one.difference for one in blocks if not one.lost], seconds, requests)


def blocks_needed(gap: float, spread: float, alpha: float) -> float:
    """Blocks until a bet that is right by ``gap`` has grown to 1 / ``alpha``; infinite where it does not grow.

    Args:
        gap: of logs, between the effect and the bar, > 0.
        spread: standard deviation of a block's difference.
        alpha: probability of error.
    """
    # Two digits are what a forecast has, and let it be remembered.
    return _blocks_needed(float(f"{gap:.3g}"), float(f"{max(spread, 1e-3):.2g}"), float(f"{alpha:.2g}"))


@functools.lru_cache(4096)
def _blocks_needed(gap: float, spread: float, alpha: float) -> float:
    goal = -math.log(alpha)
    grown = [math.log(share) for _, share in BETS]
    growth = [0.0] * len(BETS)
    for block in range(_EXACT):
        scale = math.sqrt((FIRST_SCALE**2 + block * spread**2) / (block + 1))
        bets = [max(-1.0, min(1.0, (gap + z * spread) / (2 * scale))) for z in _QUANTILES]
        growth = [sum(math.log1p(stake * bet) for bet in bets) / len(bets) for stake, _ in BETS]
        grown = [one + more for one, more in zip(grown, growth, strict=True)]
        top = max(grown)
        if top + math.log(sum(math.exp(one - top) for one in grown)) >= goal:
            return max(FEWEST_BLOCKS, block + 1)
    rest = [(goal - one) / more for one, more in zip(grown, growth, strict=True) if more > 0]
    return _EXACT + math.ceil(min(rest)) if rest else math.inf


def chosen(gate: Gate, shortest: Pace, longer: Mapping[int, Pace], alpha: float) -> tuple[int, Pace]:
    """How many times sliceSeconds the slices of a trial should be, and its pace then.

    The shortest with which an improvement of minWorthwhile (5 % where that is 0) is proved within maxDurationSeconds:
    a large one is proved by a few blocks, so that longer ones would only delay it. Where little finishes in a slice,
    many blocks are void and the others noisy; where no length suffices, the one that proves it soonest is taken.

    Args:
        gate: its settings.
        shortest: the pace of slices of sliceSeconds.
        longer: of slices so many times as long.
        alpha: probability that a trial promotes a draft that is not better.
    """

    def seconds(found: Pace) -> float:
        needed = blocks_needed(math.log1p(gate.min_worthwhile or _USUAL), found.spread, alpha)
        return found.seconds_per_block * needed

    best, least = (1, shortest), seconds(shortest)
    for times, found in sorted(longer.items()):
        if least <= gate.max_duration_seconds or times * gate.slice_seconds > gate.max_slice_seconds:
            break
        if seconds(found) < SOONER * least:
            best, least = (times, found), seconds(found)
    return best


def forecast(gate: Gate, found: Pace, alpha: float, share: float) -> Forecast:
    """What a trial of this pace can prove.

    Args:
        gate: its settings.
        found: how fast evidence comes.
        alpha: probability that it promotes a draft that is not better.
        share: of the traffic that the candidate gets.
    """

    def seconds(effect: float) -> float:
        return blocks_needed(math.log1p(effect), found.spread, alpha) * found.seconds_per_block

    # Both arms need minRequests, and the warm-up takes a block.
    least = gate.min_requests / max(1e-9, found.requests_per_minute / 60 * min(share, 1 - share))
    least = max(least, 0.0) + found.seconds_per_block
    worthwhile = max(least, seconds(gate.min_worthwhile)) if gate.min_worthwhile else math.inf
    reached = (effect for effect in EFFECTS if max(least, seconds(effect)) <= gate.max_duration_seconds)
    return Forecast(
        metric=found.metric,
        requests_per_minute=_digits(found.requests_per_minute),
        spread=_digits(found.spread),
        seconds_per_block=_digits(found.seconds_per_block),
        worthwhile_seconds=_digits(worthwhile) if math.isfinite(worthwhile) else None,
        smallest=next(reached, None),
    )


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


def settled(before: Forecast | None, now: Forecast | None) -> Forecast | None:
    """The forecast that a status shows: the one before, unless the new one says something else."""
    if before is None or now is None:
        return now or before
    numbers = (
        (before.requests_per_minute, now.requests_per_minute),
        (before.spread, now.spread),
        (before.seconds_per_block, now.seconds_per_block),
    )
    alike = all(one <= ALIKE * other and other <= ALIKE * one for one, other in numbers)
    return before if alike and (before.metric, before.smallest) == (now.metric, now.smallest) else now


def undecidable(gate: Gate, found: Forecast | None) -> str | None:
    """Why no trial of this pace can end with a verdict, if so."""
    if found is None or found.smallest is not None:
        return None
    return (
        f"not decidable at {found.requests_per_minute:.3g} requests a minute: not even a draft that is "
        f"{EFFECTS[-1]:.0%} better than asked for would be proved within maxDurationSeconds "
        f"({gate.max_duration_seconds} s); blocks differ by {found.spread:.1%} without any effect, and one that counts "
        f"comes every {found.seconds_per_block:.0f} s"
    )
