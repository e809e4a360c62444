"""What an engine reports, for callers that anybody may send: read at most once at a time, and kept for a moment."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

from aurora_core.errors import EngineError

_T = TypeVar("_T")


class Recent(Generic[_T]):
    """Reads an engine for any number of callers.

    However many call, one thread at most waits for the engine, and the engine is asked at most once in ``max_age``
    seconds. What it last gave, an error included, answers everyone until then.
    """

    def __init__(self, read: Callable[[], _T], max_age: float = 1.0, patience: float = 8.0) -> None:
        """Nothing is read before the first call.

        Args:
            read: reads the engine, and raises EngineError where there is none.
            max_age: seconds that an answer is kept.
            patience: seconds from the start of a read after which callers do not wait for it; the default leaves a
                scrape with Prometheus' default timeout of 10 s time to report the rest.
        """
        self._read = read
        self._max_age = max_age
        self._patience = patience
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="engine-state")
        self._lock = Lock()
        self._pending: Future[_T] | None = None
        self._started = self._finished = 0.0

    def get(self) -> _T:
        """What it reports, ``max_age`` seconds old at most.

        Raises:
            EngineError: the engine did not give it, or not within ``patience`` seconds of the read's start.
        """
        with self._lock:
            now = time.monotonic()
            if self._pending is None or (self._pending.done() and now - self._finished >= self._max_age):
                self._started = now
                self._pending = self._pool.submit(self._timed)
            pending, wait = self._pending, max(0.0, self._started + self._patience - now)
        try:
            return pending.result(wait)
        except TimeoutError as error:
            message = f"the engine has not answered for {self._patience:g} s"
            raise EngineError(message) from error

    def _timed(self) -> _T:
        try:
            return self._read()
        finally:
            self._finished = time.monotonic()
