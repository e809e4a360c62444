"""Whether users of one kind lose what the mean gains: the gate's own test, once for each stratum.

A stratum is a kind of requests: of an adapter, of a header's values, or all that remain. Its blocks are the trial's,
made of its own requests alone, so that the coin decides the sign of its differences as it does of all
(:mod:`aurora_operator.promotion.eprocess`). Two questions are asked of each, with l the largest regression allowed:

- A promotion needs E_up(log(1 - l)) >= 1/α of every stratum in which requests ran, beside the proof of the mean. Each
  is a test at the trial's full α, and the promotion needs all. If stratum g loses more than l, then the promotion
  is an error, and it needs the one false rejection at g: its probability is at most α, whatever the others do and
  however strata depend on each other (an intersection-union test; nothing is divided among strata).
- A rejection needs E_down(log(1 - l)) of any: one of two tests for each of G strata, each at h / 2G, so that a
  candidate that costs no stratum more than l is rejected for it with a probability of at most h (the union bound).

The mean of a trial with strata has fixed weights: a block's difference is the weighted mean of its strata's
differences, over those strata that have one. Which do is known without the coin where the draft changes nothing, so the
mean remains a fair bet. How many requests a kind sends is no part of it: where faster answers bring more requests of
one kind (closed-loop clients), the plain ratio of sums moves by the mix alone, and this mean does not.

- R. L. Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24 (1982).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from aurora_core.config.strata import OTHER

from aurora_operator.api.promotion import OtherStratum, Strata
from aurora_operator.promotion.blocks import MEASURES, Dealt, Measure, Trial, measured, numbered
from aurora_operator.promotion.eprocess import LOST, Block, log_e_down, log_e_up

_TESTS = 2
"""Of a stratum: of the metric that decides, and of decode speed."""


@dataclass(frozen=True)
class Stratum:
    """What a trial amounts to in one stratum.

    Attributes:
        name: of the stratum.
        limit: largest regression that is allowed, as a share.
        trial: its blocks, by the metric that decides.
        speed: the same by decode speed.
        worked: whether any of its requests ran in the trial.
    """

    name: str
    limit: float
    trial: Trial
    speed: Trial
    worked: bool


def weighted(dealt: Mapping[str, Dealt], weights: Mapping[str, float], plain: Trial, measure: Measure) -> Trial:
    """A trial whose blocks are means over strata, with fixed weights.

    Args:
        dealt: blocks of each stratum.
        weights: of each stratum, not negative; a stratum without one has no part in the mean.
        plain: the trial of all requests together, whose ratios of sums and void blocks stay.
        measure: what blocks compare.
    """
    found = {name: numbered(one, measure) for name, one in dealt.items() if weights.get(name, 0.0) > 0}
    blocks = []
    for number in sorted(set().union(*found.values())):
        there = {name: blocks_of[number] for name, blocks_of in found.items() if number in blocks_of}
        if any(block.lost for block in there.values()):
            # A block is cut short for all of them together.
            blocks.append(LOST)
            continue
        total = sum(weights[name] for name in there)
        mean = sum(weights[name] * block.difference for name, block in there.items()) / total
        blocks.append(Block(mean, sum(block.work for block in there.values())))
    return replace(plain, blocks=tuple(blocks))


@dataclass(frozen=True)
class Stratified:
    """A trial with strata.

    Attributes:
        trial, speed: means over strata with fixed weights, by the metric that decides and by decode speed.
        strata: each of them.
    """

    trial: Trial
    speed: Trial
    strata: tuple[Stratum, ...]


def stratified(
    spec: Strata, metric: str, dealt: Mapping[str, Dealt], worked: Collection[str], trial: Trial, speed: Trial
) -> Stratified:
    """A trial's blocks by its strata.

    Args:
        spec: weights and limits.
        metric: that decides, a key of ``MEASURES``.
        dealt: blocks of each stratum.
        worked: strata in which any request ran.
        trial, speed: of all requests together, by the metric that decides and by decode speed.
    """
    limits: dict[str, OtherStratum] = {**{one.name: one for one in spec.named}, OTHER: spec.other}
    weights = {name: one.weight for name, one in limits.items()}
    deciding, fast = MEASURES[metric], MEASURES["DecodeSpeed"]
    strata = (
        Stratum(name, limit.max_regression, measured(found, deciding), measured(found, fast), worked=name in worked)
        for name, limit in limits.items()
        if (found := dealt.get(name)) is not None
    )
    return Stratified(weighted(dealt, weights, trial, deciding), weighted(dealt, weights, speed, fast), tuple(strata))


def share_of(error: float, strata: Sequence[Stratum]) -> float:
    """The part of an error that each test of harm has."""
    return error / (_TESTS * len(strata))


def harmed(strata: Sequence[Stratum], error: float) -> str | None:
    """Which stratum is proved to lose more than it may, if one is.

    Args:
        strata: all of them.
        error: probability, over all strata together, to say so though none does.
    """
    if not strata:
        return None
    needed = -math.log(share_of(error, strata))
    for one in strata:
        for trial, what in ((one.trial, "it"), (one.speed, "its decode speed")):
            if log_e_down(trial.blocks, math.log1p(-one.limit)) >= needed:
                return f"stratum {one.name}: {what} is worse by more than {one.limit:.1%} than under stable"
    return None


def undecided(strata: Sequence[Stratum], alpha: float) -> str | None:
    """Which stratum is not yet proved to lose no more than it may, if one is; one without a request has nobody to hurt.

    Args:
        strata: all of them.
        alpha: probability of a false proof, of each.
    """
    needed = -math.log(alpha)
    for one in strata:
        if one.worked and log_e_up(one.trial.blocks, math.log1p(-one.limit)) < needed:
            counted = f"{len(one.trial.counted)} blocks so far"
            return f"stratum {one.name} is not yet proved to lose at most {one.limit:.1%} ({counted})"
    return None
