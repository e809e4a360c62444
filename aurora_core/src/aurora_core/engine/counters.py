"""What each arm did, counted while it does it: plain sums that only grow.

An arm is a draft version and the steps that it drafts. Three ratios of sums compare arms:

- accept length: tokens emitted in verify cycles, over the cycles;
- decode speed: tokens that requests emitted after their first cycle, over the seconds that they took, summed over
  requests. It counts with speculation off too, where accept length says nothing;
- time to first token: seconds from requests' arrival to their first token, over the requests, counted at their first
  cycle.

A cycle counts when it ends, for the arm that it ran under, and whatever becomes of its request later: work that an
arm did is in the period in which it did it, for a request of an hour or one that is aborted as for any other.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from aurora_core.protocol.engine import ArmCounters, StratumCounters

KEPT = 3
"""Versions with counters: live, previous and candidate."""

Ending = Literal["finished", "aborted", "failed"]
"""How a request ended: with an answer, by its client, or by an error of the engine."""


class Arm(NamedTuple):
    """What a verify cycle ran under: a draft version and the steps it drafted."""

    version: int
    steps: int


@dataclass
class Emitted:
    """Tokens and cycles, and the tokens whose seconds are known."""

    tokens: int = 0
    cycles: int = 0
    timed_tokens: int = 0
    seconds: float = 0.0

    def add(self, tokens: int, seconds: float | None) -> None:
        """A cycle; its seconds are None where it is a request's first."""
        self.tokens += tokens
        self.cycles += 1
        if seconds is not None:
            self.timed_tokens += tokens
            self.seconds += seconds


@dataclass
class ArmTotals(Emitted):
    """Everything counted of one arm.

    Attributes:
        strata: by the name of each that there is, what its requests emitted; all are there from the start, so that the
            first request of one is not lost to whoever reads increments.
    """

    requests: Counter[Ending] = field(default_factory=Counter)
    first_tokens: int = 0
    first_seconds: float = 0.0
    strata: dict[str, Emitted] = field(default_factory=dict)

    def reported(self, arm: Arm) -> ArmCounters:
        """As the engine reports it."""
        return ArmCounters(
            version=arm.version,
            steps=arm.steps,
            requests_finished=self.requests["finished"],
            requests_aborted=self.requests["aborted"],
            requests_failed=self.requests["failed"],
            accept_tokens=self.tokens,
            accept_cycles=self.cycles,
            decode_tokens=self.timed_tokens,
            decode_seconds=self.seconds,
            first_tokens=self.first_tokens,
            first_seconds=self.first_seconds,
            strata={
                name: StratumCounters(
                    accept_tokens=one.tokens,
                    accept_cycles=one.cycles,
                    decode_tokens=one.timed_tokens,
                    decode_seconds=one.seconds,
                )
                for name, one in self.strata.items()
            },
        )


class _Last(NamedTuple):
    """A running request's last cycle."""

    arm: Arm
    ended: float


class CycleCounters:
    """Sums per arm, and the last cycle of each running request.

    Arms are kept of the :data:`KEPT` versions that were live last, so that the number of series does not grow with the
    number of versions. A trial alternates between two of them, whose counters therefore never go back.

    Args:
        live: the version that is live at the start.
        strata: names of the kinds of requests that are counted apart.

    Attributes:
        arms: the totals of each arm.
    """

    def __init__(self, live: int, strata: Sequence[str] = ()) -> None:
        self._strata = tuple(strata)
        self.arms: dict[Arm, ArmTotals] = {}
        self._served = [live]
        self._running: dict[str, _Last] = {}

    def activated(self, version: int) -> None:
        """Another version is live: the one that was live longest ago is forgotten where there are too many."""
        self._served = [version, *(one for one in self._served if one != version)][:KEPT]
        self.arms = {arm: totals for arm, totals in self.arms.items() if arm.version in self._served}

    def cycle(
        self,
        request: str,
        arm: Arm,
        tokens: int,
        now: float,
        first_seconds: float | None = None,
        stratum: str | None = None,
    ) -> None:
        """A verify cycle ended.

        Args:
            request: whose.
            arm: that it ran under.
            tokens: that it emitted, the bonus token included.
            now: seconds, of a clock that only grows.
            first_seconds: from the request's arrival to its first token; None where that is not known.
            stratum: of the request, one of those that were given.
        """
        last = self._running.get(request)
        self._running[request] = _Last(arm, now)
        totals = self._of(arm)
        if totals is None:
            return
        # When a request's first cycle began is not known.
        seconds = None if last is None else max(0.0, now - last.ended)
        totals.add(tokens, seconds)
        if stratum in totals.strata:
            totals.strata[stratum].add(tokens, seconds)
        if last is None and first_seconds is not None:
            totals.first_tokens += 1
            totals.first_seconds += first_seconds

    def ended(self, request: str, how: Ending) -> None:
        """A request ended, under the arm of its last cycle; one that ended before any cycle is of no arm."""
        last = self._running.pop(request, None)
        totals = None if last is None else self._of(last.arm)
        if totals is not None:
            totals.requests[how] += 1

    def _of(self, arm: Arm) -> ArmTotals | None:
        """An arm's totals; None where its version is forgotten."""
        if arm.version not in self._served:
            return None
        if arm not in self.arms:
            self.arms[arm] = ArmTotals(strata={name: Emitted() for name in self._strata})
        return self.arms[arm]
