"""Whether a candidate is better, by the coin alone: an e-process over randomised blocks, valid at every analysis.

A block b has both arms, and a fair coin, tossed apart from all traffic, says which of its two halves is the
candidate's. Its difference is d_b = log(candidate's ratio of sums / stable's). The bet on "better by more than δ" is

    E_up(δ) = mean over λ of Π_b (1 + λ f_b),   f_b = clip(v_b (d_b - δ) / (2 s_b), -1, 1),   0 < λ < 1,

with s_b, a scale, from earlier blocks alone, and v_b in [0, 1] from the block's amount of work; E_down(δ) bets on the
negative differences.

Validity. Let the coin's side be ε_b = ±1. Where the draft changes nothing (slices do not affect each other, and
neither magnitude nor work of a block depend on its coin) the block's difference is ε_b D_b with D_b and v_b fixed
before the toss, and f_b at δ = 0 is odd in ε_b: E[1 + λ f_b | past] = 1 exactly, whatever D_b is. Where the candidate
is worse, or better by at most δ, in each block, d_b - δ <= ε_b D_b; f_b does not fall in d_b, so that
E[1 + λ f_b | past] <= 1. Either way each product, and their mean, is a non-negative supermartingale that begins at 1,
and by Ville's inequality P(E_up ever >= 1/α) <= α: for any number of blocks and any traffic, however it drifts,
bursts or repeats. No variance is estimated and nothing is asymptotic; a poor s_b costs power, never validity.

A block that was cut short (a suspicion moved its traffic back) may be neither compared nor left out: whether it was cut
depends on what the candidate did in it, and dropping what is bad for the candidate favors it. So it counts as lost
for either bet, f_b = -1, the least that any block can be: each product is at most what it would be had the block been
served to its end, whatever rule cut it, and the bounds above hold unchanged.

- J. Ville, Étude critique de la notion de collectif (1939).
- I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting, JRSS B 86 (2024).
- R. A. Fisher, The Design of Experiments (1935), III: the coin as the reason of the test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aurora_operator.promotion.statistics import Interval

BETS = ((0.95, 0.4), (0.6, 0.15), (0.35, 0.15), (0.2, 0.15), (0.1, 0.15))
"""λ, and its share of the stake: large effects are decided in few blocks, small ones in the end."""
FAR_BETS = ((0.95, 0.8), (0.35, 0.1), (0.1, 0.1))
"""The same against effects far from what is asked for, where a few blocks that all agree are the usual proof."""
FIRST_SCALE = 0.1
"""s of the first block, on the log scale: the size of improvement that one publication brings."""
WIDEST = 16.0
"""An end of an interval that no data can move is a factor of e to the 16th."""


@dataclass(frozen=True)
class Block:
    """A block of a trial in which both sides served.

    Attributes:
        difference: log of candidate's ratio of sums over stable's.
        work: harmonic mean of both sides' work (tokens), > 0.
        lost: whether it was cut short; then nothing else of it counts.
    """

    difference: float
    work: float
    lost: bool = False


LOST = Block(0.0, 1.0, lost=True)
"""A block that was cut short."""


@dataclass(frozen=True)
class _Scaled:
    difference: float
    factor: float
    lost: bool = False

    def bet(self, margin: float, sign: float) -> float:
        """What the block adds to a stake, f above."""
        return -1.0 if self.lost else max(-1.0, min(1.0, sign * (self.difference - margin) * self.factor))


def _scaled(blocks: Sequence[Block]) -> list[_Scaled]:
    """Each block with v / (2 s), of which s and the usual work are known before it."""
    out: list[_Scaled] = []
    count, mean, squares, work = 0, 0.0, 0.0, 0.0
    for block in blocks:
        if block.lost:
            out.append(_Scaled(0.0, 0.0, lost=True))
            continue
        if not (math.isfinite(block.difference) and math.isfinite(block.work) and block.work > 0):
            continue
        scale = math.sqrt((FIRST_SCALE**2 + squares) / (count + 1))
        share = min(1.0, math.sqrt(block.work * count / work)) if count else 1.0
        out.append(_Scaled(block.difference, share / (2 * scale)))
        count += 1
        step = block.difference - mean
        mean += step / count
        squares += step * (block.difference - mean)
        work += block.work
    return out


def _log_e(
    scaled: Sequence[_Scaled], margin: float, sign: float, stakes: Sequence[tuple[float, float]] = BETS
) -> float:
    bets = [one.bet(margin, sign) for one in scaled]
    logs = [math.log(share) + sum(math.log1p(stake * bet) for bet in bets) for stake, share in stakes]
    top = max(logs)
    return top + math.log(sum(math.exp(one - top) for one in logs))


def log_e_up(blocks: Sequence[Block], margin: float, stakes: Sequence[tuple[float, float]] = BETS) -> float:
    """Log of the e-value against "the log effect is at most ``margin``"; ``stakes`` are λ and shares, as BETS."""
    return _log_e(_scaled(blocks), margin, 1.0, stakes)


def log_e_down(blocks: Sequence[Block], margin: float) -> float:
    """Log of the e-value against "the log effect is at least ``margin``"."""
    return _log_e(_scaled(blocks), margin, -1.0)


def _mean(scaled: Sequence[_Scaled]) -> float | None:
    total = sum(one.factor for one in scaled)
    return sum(one.difference * one.factor for one in scaled) / total if total else None


def mean(blocks: Sequence[Block]) -> float | None:
    """The mean difference, weighted as an interval's estimate is; None without a block that counts."""
    return _mean(_scaled(blocks))


def interval(blocks: Sequence[Block], alpha: float, alpha_upper: float | None = None) -> Interval | None:
    """Candidate over stable: all effects that neither bet refutes, and the mean of differences, weighted as they are.

    The lower end is wrong, ever, with a probability of at most ``alpha``, the upper one with at most ``alpha_upper``,
    which is the same where it is not given. E_up falls and E_down grows with the margin, because scales do not depend
    on it: an end is found by bisection.

    Returns:
        None without a block that counts.
    """
    scaled = _scaled(blocks)
    center = _mean(scaled)
    if center is None:
        return None
    limits = {1.0: -math.log(alpha), -1.0: -math.log(alpha if alpha_upper is None else alpha_upper)}

    def end(sign: float) -> float:
        refuted, kept = -sign * WIDEST, center
        if _log_e(scaled, refuted, sign) < limits[sign]:
            return refuted
        for _ in range(60):
            middle = (refuted + kept) / 2
            if _log_e(scaled, middle, sign) >= limits[sign]:
                refuted = middle
            else:
                kept = middle
        return refuted

    return Interval(math.exp(max(-WIDEST, min(WIDEST, center))), math.exp(end(1.0)), math.exp(end(-1.0)))
