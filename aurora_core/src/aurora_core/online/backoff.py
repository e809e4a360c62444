"""When to start again what ended: less and less often while it ends again and again. Pure."""

from dataclasses import dataclass

FIRST_SECONDS = 2.0
MOST_SECONDS = 60.0
"""The longest wait, and how long something must have been well for its failures to be forgotten."""
_ENOUGH = 10
"""Failures after which the wait is the longest one in any case."""


@dataclass
class Backoff:
    """Of one thing. Times are in seconds of a clock that only rises.

    Attributes:
        failures: one after the other, since it was last well for :data:`MOST_SECONDS`.
        again: when it may start next.
    """

    failures: int = 0
    again: float = 0.0
    _well: float | None = None

    def well(self, now: float) -> None:
        """From now on it runs as it should, until it fails."""
        self._well = now

    def failed(self, now: float) -> None:
        """It ended, or did not start: it waits, twice as long each time."""
        if self._well is not None and now - self._well > MOST_SECONDS:
            self.failures = 0
        self._well = None
        # No power of a number of failures that grows for as long as this process lives: 2.0 ** 1024 is an error.
        self.again = now + min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.failures, _ENOUGH))
        self.failures += 1
