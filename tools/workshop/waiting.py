"""One loop that waits for a condition and says what it waits for."""

import time
from collections.abc import Callable
from typing import TypeVar

from workshop.progress import EVERY

T = TypeVar("T")


class NotInTimeError(Exception):
    """A condition did not come true within its time."""


def wait(
    what: str,
    ready: Callable[[], T | None],
    seconds: float,
    every: float | Callable[[float], float] = 0.2,
    report: Callable[[str], None] | None = None,
    state: Callable[[], object] | None = None,
) -> T:
    """Wait until a condition is true, and report the wait every 15 s; returns what made it true.

    Args:
        what: is waited for.
        ready: the condition; what it raises ends the wait.
        seconds: that it may take.
        every: seconds from one poll to the next, or what gives them for the seconds waited so far.
        report: takes a line.
        state: what to add to the error, such as the end of a log.

    Raises:
        NotInTimeError: it was not within so many seconds.
    """
    began = heard = time.monotonic()
    while not (found := ready()):
        now = time.monotonic()
        if now - began > seconds:
            message = f"{what}: not within {seconds:.0f} s"
            if state is not None:
                message += f"\n{state()}"
            raise NotInTimeError(message)
        if report is not None and now - heard >= EVERY:
            heard = now
            report(f"   waiting for {what}: {now - began:.0f} s of at most {seconds:.0f} s")
        time.sleep(every(now - began) if callable(every) else every)
    return found
