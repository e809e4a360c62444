"""One loop that waits for a condition and says what it waits for."""

import time
from collections.abc import Callable

from workshop.progress import EVERY


class NotInTimeError(Exception):
    """A condition did not come true within its time."""


def wait(
    what: str,
    ready: Callable[[], object],
    seconds: float,
    every: float = 0.2,
    report: Callable[[str], None] | None = None,
) -> None:
    """Wait until a condition is true, and report the wait every 15 s.

    Raises:
        NotInTimeError: it was not within so many seconds.
    """
    began = heard = time.monotonic()
    while not ready():
        now = time.monotonic()
        if now - began > seconds:
            message = f"{what}: not within {seconds:.0f} s"
            raise NotInTimeError(message)
        if report is not None and now - heard >= EVERY:
            heard = now
            report(f"   waiting for {what}: {now - began:.0f} s of at most {seconds:.0f} s")
        time.sleep(every)
