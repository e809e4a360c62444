"""How much of the sample rate is captured: less while samples are not taken as fast, nothing while nobody takes them.

Serving never waits for a sample. Where the store or the trainer is full, capturing more would be for nothing: the
share of the sample rate is halved, and rises again with time (back pressure). Where nobody is there, capture pauses,
and tries again after a while that doubles (a circuit breaker).
"""

import math
import threading
import time
from collections.abc import Callable

PAUSED, SLOWED = "paused", "slowed"
"""Reasons by which requests that were not captured are counted."""

_FULL = frozenset({"store_full", "spool_full", "trainer_behind", "queue_full"})
_NOBODY = frozenset({"store_lost", "spool_error", "trainer_unreachable"})
_FAILURES = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
_HALVED_SECONDS = 5.0
"""Between two halvings: all that was on its way when one place was full counts once."""
_RISE = 0.01
"""Of the sample rate, per second."""


class Pace:
    """What may be captured now, after what became of the samples before.

    Attributes:
        pauses: how often capture paused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was refused yet.

        Args:
            clock: seconds that only rise.
        """
        self.pauses = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._base, self._changed = 1.0, -math.inf
        self._failures = 0
        self._pause, self._until = _FIRST_PAUSE, -1.0
        self._why = ""

    @property
    def share(self) -> float:
        """Share of the sample rate that is captured, but for pauses."""
        with self._lock:
            return self._share()

    def _share(self) -> float:
        return min(1.0, self._base + _RISE * (self._clock() - self._changed))

    @property
    def paused(self) -> bool:
        """Whether a sample would be for nothing; after a pause the next one tries."""
        with self._lock:
            return self._clock() < self._until

    @property
    def why_paused(self) -> str:
        """Why samples are not taken, from a pause on until one is; else empty."""
        with self._lock:
            return self._why

    def taken(self) -> None:
        """A sample was taken."""
        with self._lock:
            self._failures, self._pause, self._until, self._why = 0, _FIRST_PAUSE, -1.0, ""

    def refused(self, reason: str, why: str = "") -> None:
        """A sample was not taken.

        Args:
            reason: as it is counted.
            why: in a sentence.
        """
        with self._lock:
            now = self._clock()
            if reason in _FULL:
                # It answers.
                self._failures = 0
                if now - self._changed >= _HALVED_SECONDS:
                    self._base, self._changed = self._share() / 2, now
            elif reason in _NOBODY:
                self._failures += 1
                if self._failures >= _FAILURES and now >= self._until:
                    self.pauses += 1
                    self._until, self._why = now + self._pause, f"{reason}: {why}"
                    self._pause = min(2 * self._pause, _LONGEST_PAUSE)
