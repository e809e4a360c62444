"""One loop that waits for a condition, with a deadline."""

import time
from collections.abc import Callable

from aurora_core.errors import EngineError


def wait(what: str, ready: Callable[[], object], seconds: float, every: float = 0.25, hint: str = "") -> None:
    """Wait until a condition is true.

    Args:
        what: is waited for; the error begins with it.
        ready: the condition; what it raises ends the wait.
        seconds: that it may take.
        every: seconds from one poll to the next.
        hint: what says more, for the error.

    Raises:
        EngineError: it was not true in time.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            message = f"{what}: not within {seconds:.0f} s"
            raise EngineError(f"{message}; {hint}" if hint else message)
        time.sleep(every)
