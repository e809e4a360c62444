"""What a trial is simulated under: the traffic, the fleet and the operator. benchmarks/conditions.py lists them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Shape = Callable[[np.random.Generator, int, int], np.ndarray]
"""Factors by engine and tick: [engines, ticks]. Load and ease of a trial draw the same numbers, so that a burst can be
of easier requests."""


def flat(_: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
    """The same everywhere."""
    return np.ones((engines, ticks))


@dataclass(frozen=True)
class Domain:
    """One kind of requests, a stratum of its own.

    Attributes:
        name: of the stratum.
        share: of the cycles under stable.
        ease: factor of accept length.
        effect: exponent of the candidate's effect.
        weight: in the gate's mean.
    """

    name: str
    share: float
    ease: float
    effect: float
    weight: float = 1.0


@dataclass(frozen=True)
class Condition:
    """One kind of traffic, fleet and operator.

    Attributes:
        name: for the table.
        engines: how many; one is a Switchback, more a Canary.
        canary: pods that serve the candidate at a time.
        cycles: verify cycles of an engine in a tick, mean.
        load, ease: factors of work and of accept length.
        effect_of: factor of the candidate's effect by tick (as an exponent); 1 where it is the same all the time.
        away: from and to, in slices: the operator does not swap.
        scrape: seconds between two scrapes.
        lost: share of scrapes that fail.
        restart: ticks between two restarts of an engine; 0 for none.
        present: by tick, how many engines there are; None for all.
        long: mean ticks of a request whose length says how hard it is; 0 where requests are short.
        slice_seconds, hours: of the trial.
        domains: strata; none for all requests alike.
        closed: whether a client sends its next request when it has an answer, so that faster answers of a domain bring
            more of its requests; else they come at their own pace, and faster answers leave the engine idle.
        cost: factor of a verify cycle's seconds under the candidate.
        failing, waiting: share of requests that fail, and factor of the time to first token, under the candidate.
        guard: share of stable's usual accept length below which a noisy guard of the candidate is breached; 0: none.
        adversary: factor by which clients who know all past arms make the slice easier or harder in which they expect
            the candidate.
        swap: factor of accept length in the first ticks after a swap, for either arm; 1: none.
    """

    name: str
    engines: int = 1
    canary: int = 1
    cycles: float = 60.0
    load: Shape = flat
    ease: Shape = flat
    effect_of: Callable[[int, int], float] | None = None
    away: tuple[int, int] = (0, 0)
    scrape: float = 15.0
    lost: float = 0.0
    restart: int = 0
    present: Callable[[int], int] | None = None
    long: int = 0
    slice_seconds: int = 60
    hours: float = 3.0
    domains: tuple[Domain, ...] = ()
    closed: bool = False
    cost: float = 1.0
    failing: float = 0.0
    waiting: float = 1.0
    guard: float = 0.0
    adversary: float = 1.0
    swap: float = 1.0
