"""Traffic for benchmarks/gate.py: what engines do in each tick under whichever arm they serve, and what is scraped.

A condition says how much work there is in each tick and how easy it is; the arm changes only how many tokens a verify
cycle of it emits. Engines swap by the product's own assignment, and count as the plugin does, at each cycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from aurora_operator.promotion.assignment import canaries, candidate_slice
from aurora_operator.promotion.counters import NAMES, OF_STRATUM, Arm, Counters, Row, Series
from trial_condition import Condition, Domain

NEW, OLD = Arm(2, 3), Arm(1, 3)
TICK = 5.0
"""Seconds; slices and scrapes are multiples of it."""
CYCLE_SECONDS = 0.05
"""Of a verify cycle, whatever it accepts."""
ACCEPT = 2.0
"""Stable's accept length on ordinary traffic."""


@dataclass
class Outcome:
    """A simulated trial: the counters that a gate reads, and the same work exactly, by slice, for other rules.

    Attributes:
        cells: by arm, engine and slice: tokens and cycles.
        strata: by domain, candidate's and stable's counters.
        cut: blocks that the guard cut short.
    """

    candidate: Counters
    stable: Counters
    trial: str
    cells: dict[Arm, dict[tuple[int, int], tuple[float, float]]] = field(default_factory=dict)
    strata: dict[str, tuple[Counters, Counters]] = field(default_factory=dict)
    cut: frozenset[int] = frozenset()


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


_ONE = (Domain("all", 1.0, 1.0, 1.0),)


def _emitted(
    rng: np.random.Generator, domain: Domain, count: np.ndarray, ease: np.ndarray, factor: np.ndarray, *, closed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and cycles of a domain in a tick, by engine."""
    cycles, length = domain.share * count, domain.ease * ease
    tokens = cycles * length * (factor if closed else 1.0)
    cycles = cycles if closed else cycles / factor
    return np.maximum(cycles, tokens + rng.normal(0, 0.9, count.shape) * np.sqrt(cycles)), cycles


def _serving(condition: Condition, trial: str, at: int, there: Sequence[str]) -> np.ndarray:
    """Which engines serve the candidate in a slice."""
    if condition.engines == 1:
        chosen = set(there) if candidate_slice(trial, at) else set()
    else:
        chosen = canaries(trial, at, there, condition.canary)
    return np.array([f"p{i}" in chosen for i in range(condition.engines)])


class _Counted:
    """What engines count, exactly by slice and as it is scraped."""

    def __init__(self, condition: Condition) -> None:
        self._engines = condition.engines
        self._condition = condition
        self.kinds = (None, *condition.domains)
        keys = [(arm, kind) for arm in (NEW, OLD) for kind in self.kinds]
        self._totals = {key: np.zeros((self._engines, 2)) for key in keys}
        self.rows: dict[tuple[Arm, Domain | None], list[list[tuple[float, Row]]]] = {
            key: [[(0.0, Row())] for _ in range(self._engines)] for key in keys
        }
        self.cells: dict[Arm, dict[tuple[int, int], tuple[float, float]]] = {NEW: {}, OLD: {}}

    def add(self, domain: Domain, serves: np.ndarray, at: int, done: tuple[np.ndarray, np.ndarray], there: int) -> None:
        """A domain's tokens and cycles of a tick in this slice, by engine."""
        for engine, (tokens, cycles) in enumerate(zip(*done, strict=True)):
            if engine >= there:
                break
            arm = NEW if serves[engine] else OLD
            for kind in {None, domain} & set(self.kinds):
                self._totals[arm, kind][engine] += tokens, cycles
            x, y = self.cells[arm].get((engine, at), (0.0, 0.0))
            self.cells[arm][engine, at] = (x + float(tokens), y + float(cycles))

    def restarted(self, engine: int) -> None:
        """An engine's counters begin again."""
        for sums in self._totals.values():
            sums[engine] = 0

    def scraped(self, engine: int, now: float) -> None:
        """An engine's counters are read."""
        condition = self._condition
        for key, sums in self._totals.items():
            x, y = map(float, sums[engine])
            cost, failing, waiting = (
                (condition.cost, condition.failing, condition.waiting) if key[0] == NEW else (1.0, 0.0, 1.0)
            )
            ended = y / 40
            row = Row(
                ended * (1 - failing), 0, ended * failing, x, y, x, CYCLE_SECONDS * cost * y, ended, waiting * y / 400
            )
            self.rows[key][engine].append((now, row))


class _Dealer:
    """Who serves the candidate, and what follows from it: a guard that cuts blocks short, swaps, adversaries."""

    def __init__(self, condition: Condition, trial: str) -> None:
        self._condition, self._trial = condition, trial
        self._names = [f"p{i}" for i in range(condition.engines)]
        self._resumes, self._swapped = 0, 0
        self._expected = False
        self.serves = np.zeros(condition.engines, dtype=bool)
        self.cut: set[int] = set()

    def begin(self, at: int, there: int) -> None:
        """A slice begins."""
        condition, before = self._condition, self.serves
        if at % 2 == 0:
            # Who knows all past arms can only guess: here, that what began the last block begins this one.
            self._expected = bool(at) and candidate_slice(self._trial, at - 2)
        if not condition.away[0] <= at < condition.away[1]:
            self.serves = _serving(condition, self._trial, at, self._names[:there]) & (at // 2 >= self._resumes)
        self._swapped = 0 if (before != self.serves).any() else 2

    def ease(self, at: int) -> float:
        """Factor of accept length for whoever serves."""
        self._swapped += 1
        # Two ticks are ten seconds.
        cold = self._condition.swap if self._swapped <= 2 else 1.0
        hers = self._expected == (at % 2 == 0)
        return cold * (self._condition.adversary if hers else 1 / self._condition.adversary)

    def watched(self, at: int, tokens: float, cycles: float) -> None:
        """What the candidate did in a tick, as a guard sees it."""
        if cycles and self._condition.guard and tokens < self._condition.guard * ACCEPT * cycles:
            self.cut.add(at // 2)
            self._resumes = at // 2 + 2
            self.serves = np.zeros_like(self.serves)


def simulate(condition: Condition, effect: float, seed: int) -> Outcome:
    """One trial from its start to its end."""
    rng = np.random.default_rng(seed)
    per_slice = int(condition.slice_seconds / TICK)
    ticks = int(condition.hours * 3600 / TICK)
    trial = f"simulated/{condition.name}/{seed}"
    names = [f"p{i}" for i in range(condition.engines)]
    load = condition.load(_traffic(seed), condition.engines, ticks)
    ease = ACCEPT * _ease(rng, condition, ticks, seed)
    counted = _Counted(condition)
    dealer = _Dealer(condition, trial)
    count = np.floor(rng.poisson(condition.cycles * load)).astype(float)
    # With all requests alike the engine is busy all the time, as with clients of a closed loop.
    closed = condition.closed or not condition.domains
    for tick in range(ticks):
        at = tick // per_slice
        there = condition.engines if condition.present is None else condition.present(tick)
        if tick % per_slice == 0:
            dealer.begin(at, there)
        serves, easier = dealer.serves, dealer.ease(at)
        factor = effect if condition.effect_of is None else effect ** condition.effect_of(tick, ticks)
        for domain in condition.domains or _ONE:
            gains = np.where(serves, factor**domain.effect, 1.0)
            # Cycles that take longer are fewer where clients wait for answers.
            cycles = count[:, tick] / (np.where(serves, condition.cost, 1.0) if closed else 1.0)
            done = _emitted(rng, domain, cycles, easier * ease[:, tick], gains, closed=closed)
            counted.add(domain, serves, at, done, there)
        if condition.restart and tick % condition.restart == condition.restart - 1:
            counted.restarted(tick // condition.restart % condition.engines)
        now = (tick + 1) * TICK
        if now % condition.scrape == 0:
            dealer.watched(at, float(done[0][serves].sum()), float(done[1][serves].sum()))
            for engine in range(there):
                if rng.random() >= condition.lost:
                    counted.scraped(engine, now)
    read = {
        (arm, kind): _counters(arm, rows, names, condition.slice_seconds, kind.name if kind else None)
        for (arm, kind), rows in counted.rows.items()
    }
    strata = {one.name: (read[NEW, one], read[OLD, one]) for one in condition.domains}
    return Outcome(read[NEW, None], read[OLD, None], trial, counted.cells, strata, frozenset(dealer.cut))


def _counters(
    arm: Arm, rows: Sequence[Sequence[tuple[float, Row]]], names: Sequence[str], length: float, stratum: str | None
) -> Counters:
    counters = Counters(arm, 0.0, from_zero=True, length=length, stratum=stratum)
    read = dict(zip(Row._fields, NAMES, strict=True)) if stratum is None else {k: str(v) for k, v in OF_STRATUM.items()}
    series = []
    for name, samples in zip(names, rows, strict=True):
        labels = {"engine": name, "version": str(arm.version), "steps": str(arm.steps)}
        labels |= {} if stratum is None else {"stratum": stratum}
        series += [
            Series({**labels, "__name__": metric}, tuple((time, getattr(row, part)) for time, row in samples))
            for part, metric in read.items()
        ]
    counters.add(series)
    return counters
