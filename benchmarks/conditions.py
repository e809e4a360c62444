"""Conditions of traffic, fleet and operator for benchmarks/gate.py: what production has that misleads other rules."""

from dataclasses import replace

import numpy as np
from trial_condition import Condition, Domain, Shape


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


def law_and_code(law: Domain, code: Domain) -> tuple[Domain, ...]:
    """Two domains as strata: law is hard and loses, code is easy and gains, and weighs three times as much."""
    return (replace(law, ease=0.75, weight=1.0), replace(code, ease=1.25, weight=3.0))


_OPPOSITE = law_and_code(Domain("law", 0.5, 1.0, -2.0), Domain("code", 0.5, 1.0, 2.0))
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
    replace(_STEADY, name="no traffic at all for an hour", load=between(40, 100, 0.0)),
    replace(_STEADY, name="Canary 1 of 4, requests of 10 min, longer is harder", engines=4, long=120),
    replace(_STEADY, name="pods double in mid-trial, new ones 25 % worse", engines=4,
            ease=unequal(1.0, 1.1, 0.75, 0.75), present=lambda tick: 2 if tick < 1080 else 4),
    replace(_STEADY, name="for 10 min the opposite, 2.5 times as large",
            effect_of=lambda tick, _: -2.5 if tick < 120 else 1),
    replace(_STEADY, name="adversaries who know all past arms, ±20 %", adversary=1.2),
    replace(_STEADY, name="10 s after a swap 15 % worse, for either arm", swap=0.85),
    replace(_STEADY, name="a noisy guard that cuts blocks short", guard=0.84),
    replace(_STEADY, name="cycles 8 % slower, open loop: all three are slower", cost=1.08,
            domains=(Domain("all", 1.0, 1.0, 1.0),)),
    replace(_STEADY, name="cycles 8 % slower, closed loop: all three are slower", cost=1.08),
    replace(_STEADY, name="5 % more requests fail: none may be promoted", failing=0.05),
    replace(_STEADY, name="first token 40 % later: none may be promoted", waiting=1.4),
    replace(_STEADY, name="strata: both gain alike",
            domains=law_and_code(Domain("law", 0.5, 1.0, 1.0), Domain("code", 0.5, 1.0, 1.0))),
    replace(_STEADY, name="strata, opposite: law loses twice, open loop", domains=_OPPOSITE),
    replace(_STEADY, name="strata, opposite: law loses twice, closed loop", domains=_OPPOSITE, closed=True),
    replace(_STEADY, name="strata, opposite: law, 3 % of traffic, loses four times", closed=True,
            domains=law_and_code(Domain("law", 0.03, 1.0, -4.0), Domain("code", 0.97, 1.0, 2.0))),
    replace(_STEADY, name="strata, opposite: law loses just beyond its limit", closed=True,
            domains=law_and_code(Domain("law", 0.5, 1.0, -1.06), Domain("code", 0.5, 1.0, 4.0))),
    replace(_STEADY, name="strata, opposite: Canary 1 of 4, mix wanders", engines=4, ease=walk(0.15, 0.9), closed=True,
            domains=_OPPOSITE),
)  # fmt: skip
"""Those of production that are known to mislead other rules, and more."""
