"""One trainer that many engines feed, as one queue after the other: what reaches the pool, and when it is trained on.

Requests end at random moments in any of the engines; what the sample rate lets through crosses the link of rank 0; the
pool takes it; each optimizer step draws the samples that were used least; every so many steps a version is published
and, in these figures, goes live at once.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """What feeds, and what is fed.

    Attributes:
        arrivals: samples a second that all engines together have, at a sample rate of 1.
        rate: share of them that is captured.
        size: bytes of a sample.
        link: bytes a second into rank 0.
        step: seconds of an optimizer step.
        drawn: samples of a step.
        publish_every: steps.
        publish: seconds of evaluation and publication, during which nothing is trained.
        pool: samples that the pool keeps.
        start: samples before the first step.
        reuse: how often a sample may be trained on, on average.
    """

    arrivals: float
    rate: float
    size: float
    link: float
    step: float
    drawn: int
    publish_every: int
    publish: float
    pool: int
    start: int = 32
    reuse: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        arrived: samples that reached the pool.
        trained: those that were trained on before they left it.
        versions: that were published.
        newest: seconds from the capture of a version's newest sample in the pool to its going live, for each version.
        learned: the same for each trained sample, to the first version that has learned of it.
        waited: share of the time that the trainer had nothing to do.
    """

    arrived: int
    trained: int
    versions: int
    newest: tuple[float, ...]
    learned: tuple[float, ...]
    waited: float


class _Pool:
    """Samples by how often they were used; the oldest leave first."""

    def __init__(self, size: int, generator: random.Random) -> None:
        self._size, self._generator = size, generator
        self._captured: dict[int, float] = {}
        self._order: deque[int] = deque()
        self._heap: list[tuple[int, float, int]] = []
        self._next = 0
        self.draws = 0
        self._uses: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def add(self, captured: float) -> None:
        name, self._next = self._next, self._next + 1
        self._captured[name], self._uses[name] = captured, 0
        self._order.append(name)
        heapq.heappush(self._heap, (0, self._generator.random(), name))
        if len(self._order) > self._size:
            gone = self._order.popleft()
            self.draws -= self._uses.pop(gone)
            del self._captured[gone]

    @property
    def newest(self) -> float:
        return self._captured[self._order[-1]]

    def draw(self, count: int) -> list[float]:
        """Draw so many, used least first; returns when those were captured that are used for the first time."""
        first: list[float] = []
        again: list[tuple[int, float, int]] = []
        while self._heap and len(again) < min(count, len(self._order)):
            uses, _, name = heapq.heappop(self._heap)
            if name not in self._uses:
                continue
            if not uses:
                first.append(self._captured[name])
            self._uses[name] += 1
            self.draws += 1
            again.append((uses + 1, self._generator.random(), name))
        for entry in again:
            heapq.heappush(self._heap, entry)
        return first


def _arrivals(group: Group, seconds: float, generator: random.Random) -> Iterator[tuple[float, float]]:
    """When each captured sample was captured, and when it has crossed the link."""
    at = free = 0.0
    while True:
        at += generator.expovariate(group.arrivals * group.rate)
        if at > seconds:
            return
        free = max(free, at) + group.size / group.link
        yield at, free


def simulate(group: Group, seconds: float, seed: int = 0, steps: int | None = None) -> Outcome:
    """Run a group for so many seconds, or until so many steps are taken.

    Args:
        group: what runs.
        seconds: until which requests come.
        seed: of all that is random.
        steps: after which it ends, with the version that is then published.
    """
    generator = random.Random(seed)
    coming = deque(_arrivals(group, seconds, generator))
    pool = _Pool(group.pool, generator)
    now = idle = 0.0
    arrived = taken = versions = 0
    unpublished: list[float] = []
    newest: list[float] = []
    learned: list[float] = []
    trained = 0
    while steps is None or taken < steps:
        while coming and coming[0][1] <= now:
            pool.add(coming.popleft()[0])
            arrived += 1
        if len(pool) < group.start or pool.draws >= len(pool) * group.reuse:
            if not coming:
                break
            idle += max(0.0, coming[0][1] - now)
            now = max(now, coming[0][1])
            continue
        if steps is None and now > seconds:
            break
        first = pool.draw(group.drawn)
        now += group.step
        taken += 1
        trained += len(first)
        unpublished += first
        if taken % group.publish_every == 0:
            seen = pool.newest
            now += group.publish
            versions += 1
            newest.append(now - seen)
            learned += [now - captured for captured in unpublished]
            unpublished = []
    return Outcome(arrived, trained, versions, tuple(newest), tuple(learned), idle / max(now, 1e-9))
