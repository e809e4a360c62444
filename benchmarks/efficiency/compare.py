"""A variant beside the one that it differs from in one thing: on the same requests, with the same seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aurora_core.evaluation.intervals import Estimate, difference

from efficiency.results import Pairs, Point, Runs

Verdict = Literal["better", "worse", "not resolved"]
FEWEST_SEEDS = 2
"""Of both variants, without which there is no verdict."""


@dataclass(frozen=True)
class Effect:
    """What a change did to the accept length.

    Attributes:
        before, after: accept lengths over all seeds.
        change: their difference, with the interval of requests.
        by_seed: the difference of each seed.
        verdict: resolved where the interval leaves zero out and every seed agrees.
    """

    before: float
    after: float
    change: Estimate
    by_seed: tuple[float, ...]
    verdict: Verdict


def _requests(point: Point, domains: Sequence[str]) -> Pairs:
    return [pair for domain, pairs in point.greedy.items() if not domains or domain in domains for pair in pairs]


def _pooled(points: Sequence[Pairs]) -> tuple[list[float], list[float]]:
    """Tokens and cycles of each request, summed over seeds."""
    return (
        [float(sum(p[0] for p in of_one)) for of_one in zip(*points, strict=True)],
        [float(sum(p[1] for p in of_one)) for of_one in zip(*points, strict=True)],
    )


def _length(pooled: tuple[list[float], list[float]]) -> float:
    return sum(pooled[0]) / max(1.0, sum(pooled[1]))


def effect(
    one: Mapping[int, Mapping[str, Point]],
    other: Mapping[int, Mapping[str, Point]],
    at: tuple[str, str],
    domains: Sequence[str] = (),
) -> Effect | None:
    """What ``other`` changes over ``one``; None where fewer than two seeds of either are there.

    Args:
        one, other: points by seed, by moment.
        at: the moment of each.
        domains: whose requests, all where it is empty.
    """
    seeds = [sorted(seed for seed, points in runs.items() if when in points)
             for runs, when in zip((one, other), at, strict=True)]  # fmt: skip
    shared = sorted(set(seeds[0]) & set(seeds[1]))
    if len(shared) >= FEWEST_SEEDS:
        seeds = [shared, shared]
    if min(map(len, seeds)) < FEWEST_SEEDS:
        return None
    pairs = [[_requests(runs[seed][when], domains) for seed in of]
             for runs, when, of in zip((one, other), at, seeds, strict=True)]  # fmt: skip
    before, after = _pooled(pairs[0]), _pooled(pairs[1])
    change = difference(before, after)
    by_seed = tuple(_length(_pooled([b])) - _length(_pooled([a])) for a, b in zip(pairs[0], pairs[1], strict=False))
    low, high = change.low, change.high
    verdict: Verdict = "not resolved"
    if low is not None and low > 0 and min(by_seed) > 0:
        verdict = "better"
    elif high is not None and high < 0 and max(by_seed) < 0:
        verdict = "worse"
    return Effect(_length(before), _length(after), change, by_seed, verdict)


def length(runs: Runs, variant: str, at: str, domains: Sequence[str] = ()) -> float | None:
    """Accept length of a variant at a moment, over all its seeds."""
    points = [of_seed[at] for of_seed in runs.points.get(variant, {}).values() if at in of_seed]
    return _length(_pooled([_requests(point, domains) for point in points])) if points else None
