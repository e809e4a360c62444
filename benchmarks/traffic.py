"""Traffic for benchmarks/gate.py: what engines do in each tick under whichever arm they serve, and what is scraped.

A condition says how much work there is in each tick and how easy it is; the arm changes only how many tokens a verify
cycle of it emits. Engines swap by the product's own assignment, and count as the plugin does, at each cycle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from aurora_operator.promotion.assignment import canaries, candidate_slice
from aurora_operator.promotion.counters import NAMES, Arm, Counters, Row, Series

NEW, OLD = Arm(2, 3), Arm(1, 3)
TICK = 5.0
"""Seconds; slices and scrapes are multiples of it."""
CYCLE_SECONDS = 0.05
"""Of a verify cycle, whatever it accepts."""
ACCEPT = 2.0
"""Stable's accept length on ordinary traffic."""

Shape = Callable[[np.random.Generator, int, int], np.ndarray]
"""Factors by engine and tick: [engines, ticks]. Load and ease of a trial draw the same numbers, so that a burst can be
of easier requests."""


def flat(_: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
    """The same everywhere."""
    return np.ones((engines, ticks))


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


@dataclass
class Outcome:
    """A simulated trial: the counters that a gate reads, and the same work exactly, by slice, for other rules.

    Attributes:
        cells: by arm, engine and slice: tokens and cycles.
    """

    candidate: Counters
    stable: Counters
    trial: str
    cells: dict[Arm, dict[tuple[int, int], tuple[float, float]]] = field(default_factory=dict)


def _traffic(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 1])


def _ease(rng: np.random.Generator, condition: Condition, ticks: int, seed: int) -> np.ndarray:
    """Accept length of stable by engine and tick: requests come and go, and each has a rate of its own."""
    own = condition.ease(_traffic(seed), condition.engines, ticks)
    if not condition.long:
        # About six requests run in a tick, each with its own rate.
        spread: np.ndarray = own * np.exp(rng.normal(0, 0.18 / np.sqrt(6), own.shape))
        return spread
    factors = np.empty_like(own)
    for engine in range(condition.engines):
        at = 0
        while at < ticks:
            length = max(1, int(rng.exponential(condition.long)))
            factors[engine, at : at + length] = (length / condition.long + 0.1) ** -0.2
            at += length
    return own * factors


def simulate(condition: Condition, effect: float, seed: int) -> Outcome:
    """One trial from its start to its end."""
    rng = np.random.default_rng(seed)
    per_slice = int(condition.slice_seconds / TICK)
    ticks = int(condition.hours * 3600 / TICK)
    trial = f"simulated/{condition.name}/{seed}"
    names = [f"p{i}" for i in range(condition.engines)]
    load = condition.load(_traffic(seed), condition.engines, ticks)
    ease = ACCEPT * _ease(rng, condition, ticks, seed)
    totals = {arm: np.zeros((condition.engines, 2)) for arm in (NEW, OLD)}
    rows: dict[Arm, list[list[tuple[float, Row]]]] = {arm: [[(0.0, Row())] for _ in names] for arm in totals}
    cells: dict[Arm, dict[tuple[int, int], tuple[float, float]]] = {NEW: {}, OLD: {}}
    serves = np.zeros(condition.engines, dtype=bool)
    count = np.floor(rng.poisson(condition.cycles * load)).astype(float)
    for tick in range(ticks):
        at = tick // per_slice
        there = condition.engines if condition.present is None else condition.present(tick)
        if tick % per_slice == 0 and not condition.away[0] <= at < condition.away[1]:
            chosen = (
                (set(names[:1]) if candidate_slice(trial, at) else set())
                if condition.engines == 1
                else canaries(trial, at, names[:there], condition.canary)
            )
            serves = np.array([name in chosen for name in names])
        factor = effect if condition.effect_of is None else effect ** condition.effect_of(tick, ticks)
        tokens = count[:, tick] * ease[:, tick] * np.where(serves, factor, 1.0)
        tokens = np.maximum(count[:, tick], tokens + rng.normal(0, 0.9, condition.engines) * np.sqrt(count[:, tick]))
        for engine in range(there):
            arm = NEW if serves[engine] else OLD
            totals[arm][engine] += tokens[engine], count[engine, tick]
            x, y = cells[arm].get((engine, at), (0.0, 0.0))
            cells[arm][engine, at] = (x + float(tokens[engine]), y + float(count[engine, tick]))
        if condition.restart and tick % condition.restart == condition.restart - 1:
            for sums in totals.values():
                sums[tick // condition.restart % condition.engines] = 0
        now = (tick + 1) * TICK
        if now % condition.scrape == 0:
            for engine in range(there):
                if rng.random() >= condition.lost:
                    for arm, sums in totals.items():
                        x, y = map(float, sums[engine])
                        rows[arm][engine].append((now, Row(y / 40, 0, 0, x, y, x, CYCLE_SECONDS * y, y / 40, y / 400)))
    counters = {arm: _counters(arm, rows[arm], names, condition.slice_seconds) for arm in totals}
    return Outcome(counters[NEW], counters[OLD], trial, cells)


def _counters(arm: Arm, rows: Sequence[Sequence[tuple[float, Row]]], names: Sequence[str], length: float) -> Counters:
    counters = Counters(arm, 0.0, from_zero=True, length=length)
    series = []
    for name, samples in zip(names, rows, strict=True):
        labels = {"engine": name, "version": str(arm.version), "steps": str(arm.steps)}
        series += [
            Series({**labels, "__name__": metric}, tuple((time, row[i]) for time, row in samples))
            for i, metric in enumerate(NAMES)
        ]
    counters.add(series)
    return counters


# --- shapes ---


def held(values: np.ndarray, per: int, ticks: int) -> np.ndarray:
    """Values of periods as values of ticks."""
    return np.repeat(values, per, axis=1)[:, :ticks]


def walk(sigma: float, memory: float, per: int = 12) -> Shape:
    """A factor that wanders, autocorrelated from period to period, the same for all engines."""

    def shape(rng: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        steps = ticks // per + 1
        out, value = np.empty(steps), 0.0
        for i in range(steps):
            value = memory * value + np.sqrt(1 - memory**2) * rng.normal()
            out[i] = value
        return held(np.tile(np.exp(sigma * out), (engines, 1)), per, ticks)

    return shape


def cycle(amplitude: float, period_ticks: int) -> Shape:
    """A daily or hourly rhythm."""

    def shape(rng: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        phase = rng.uniform(0, 2 * np.pi)
        return np.tile(1 + amplitude * np.sin(2 * np.pi * np.arange(ticks) / period_ticks + phase), (engines, 1))

    return shape


def alternating(size: float, per: int = 12) -> Shape:
    """Every second slice is easier: a job that runs every two minutes."""

    def shape(_: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        return np.tile(1 + size * (np.arange(ticks) // per % 2), (engines, 1))

    return shape


def rarely(share: float, size: float, per: int = 12) -> Shape:
    """In a share of the periods a factor."""

    def shape(rng: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        steps = ticks // per + 1
        return held(np.tile(np.where(rng.random(steps) < share, size, 1.0), (engines, 1)), per, ticks)

    return shape


def pareto(index: float, per: int = 12, sign: float = 0.0) -> Shape:
    """Heavy-tailed load of slices; with a sign, how much easier a heavier slice is."""

    def shape(rng: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        drawn = 1 + rng.pareto(index, ticks // per + 1)
        load = np.minimum(drawn, 200) / 2
        values = load**sign if sign else load
        return held(np.tile(values, (engines, 1)), per, ticks)

    return shape


def between(first: int, last: int, size: float, per: int = 12) -> Shape:
    """Easier from one slice to another."""

    def shape(_: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        at = np.arange(ticks) // per
        return np.tile(np.where((at >= first) & (at < last), size, 1.0), (engines, 1))

    return shape


def unequal(*factors: float) -> Shape:
    """Engines that differ, all the time."""

    def shape(_: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        return np.tile(np.resize(np.array(factors), engines)[:, None], (1, ticks))

    return shape


def tenants(per: int = 36) -> Shape:
    """Sticky tenants, hard or easy ones, on each engine for some minutes."""

    def shape(rng: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        return held(rng.choice([1.0, 1.5], (engines, ticks // per + 1)), per, ticks)

    return shape


def times(*shapes: Shape) -> Shape:
    """Several at once."""

    def shape(rng: np.random.Generator, engines: int, ticks: int) -> np.ndarray:
        out = np.ones((engines, ticks))
        for one in shapes:
            out = out * one(rng, engines, ticks)
        return out

    return shape


_STEADY = Condition("steady, 60 cycles a tick")
CONDITIONS = (
    _STEADY,
    replace(_STEADY, name="thin: 3 cycles a tick", cycles=3.0),
    replace(_STEADY, name="load wanders (AR .9, sd .5)", load=walk(0.5, 0.9)),
    replace(_STEADY, name="mix wanders (AR .9, sd .15)", ease=walk(0.15, 0.9)),
    replace(_STEADY, name="mix with a cycle of 1 h, ±25 %", ease=cycle(0.25, 720)),
    replace(_STEADY, name="a job every second slice, +30 %", ease=alternating(0.3)),
    replace(_STEADY, name="bursts: 2 % of slices 30 times the load, easier", load=rarely(0.02, 30.0),
            ease=rarely(0.02, 1.4)),
    replace(_STEADY, name="Pareto load, heavier is easier", load=pareto(1.2), ease=pareto(1.2, sign=0.15)),
    replace(_STEADY, name="requests of 10 min, longer is harder", long=120),
    replace(_STEADY, name="operator away for 30 min, mix 15 % easier meanwhile", away=(40, 70),
            ease=between(40, 70, 1.15)),
    replace(_STEADY, name="operator away for 1 h, mix 15 % easier meanwhile", away=(40, 100),
            ease=between(40, 100, 1.15)),
    replace(_STEADY, name="a scrape each 30 s", scrape=30.0),
    replace(_STEADY, name="60 % of scrapes lost", lost=0.6),
    replace(_STEADY, name="an engine that restarts every 3 min", restart=36),
    replace(_STEADY, name="Canary 1 of 2, alike", engines=2),
    replace(_STEADY, name="Canary 1 of 2, one pod 30 % worse", engines=2, ease=unequal(1.0, 0.7)),
    replace(_STEADY, name="Canary 1 of 4, one pod 30 % worse", engines=4, ease=unequal(1.0, 1.0, 1.0, 0.7)),
    replace(_STEADY, name="Canary 2 of 8, pods differ by 20 %", engines=8, canary=2,
            ease=unequal(0.8, 1.2, 1.0, 0.9, 1.1, 0.7, 1.3, 1.0)),
    replace(_STEADY, name="Canary 1 of 2, sticky tenants", engines=2, ease=tenants()),
    replace(_STEADY, name="Canary, from 2 pods to 6 and back to 3", engines=6, canary=2, ease=unequal(1.0, 0.8, 1.2),
            present=lambda tick: (2, 6, 3)[min(2, tick // 720)]),
    replace(_STEADY, name="Canary 1 of 4, restarts and lost scrapes", engines=4, restart=36, lost=0.3,
            ease=unequal(1.0, 0.8, 1.2, 0.9)),
    replace(_STEADY, name="mix wanders, bursts and a cycle together", load=times(walk(0.5, 0.9), rarely(0.02, 30.0)),
            ease=times(walk(0.15, 0.9), cycle(0.25, 720))),
    replace(_STEADY, name="slices of 15 s, a scrape each 5 s", slice_seconds=15, scrape=5.0, hours=1.0),
    replace(_STEADY, name="load and mix change from slice to slice", load=walk(0.8, 0.5), ease=walk(0.1, 0.5)),
)  # fmt: skip
"""Those of production that are known to mislead other rules, and more."""
