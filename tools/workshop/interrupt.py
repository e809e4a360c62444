"""Ctrl-C, SIGTERM and SIGHUP: raised in the main thread once, then ignored while everything is stopped."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from workshop.process import descendants, end

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER = 36


class Interrupted(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _raise(number: int, _frame: FrameType | None) -> None:
    ignore()
    raise Interrupted(number)


def ignore() -> None:
    """From now on a signal changes nothing: what was started is being stopped."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def raised() -> None:
    """From now on a signal raises Interrupted in the main thread; later ones are ignored."""
    for number in SIGNALS:
        signal.signal(number, _raise)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """A few statements that a signal does not tear apart: it comes at their end. Signals that are ignored stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda came, _frame: seen.append(came))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if seen:
        os.kill(os.getpid(), seen[0])


def adopt() -> None:
    """Become the parent of every process below this one whose own parent ends, so that none is lost sight of."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> list[int]:
    """End all that is left below this process; returns what could not be ended."""
    left = end(descendants(os.getpid()), signal.SIGTERM, 5)
    # What ended may have left children that appeared meanwhile.
    left = [*left, *(pid for pid in descendants(os.getpid()) if pid not in left)]
    return end(left, signal.SIGKILL, 5)
