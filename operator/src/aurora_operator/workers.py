"""Threads that are shared fairly: what one namespace's slow servers hold up is that namespace alone."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Task(Generic[T]):
    def __init__(self, run: Callable[[], T]) -> None:
        self.run = run
        self.future: Future[T] = Future()


class FairWorkers:
    """Runs what is submitted, so many at once of all namespaces together and of each.

    A free thread goes to the namespace that has the fewest running; among those, to the one that waits longest.

    Args:
        threads: at once.
        each: of one namespace at once.
        name: of the threads.
    """

    def __init__(self, threads: int, each: int, name: str) -> None:
        self._most, self._each = threads, each
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._waiting: dict[str, deque[_Task[Any]]] = {}
        self._running: dict[str, int] = {}

    def submit(self, namespace: str, run: Callable[[], T], *, first: bool = False) -> Future[T]:
        """Run it in a thread when it is this namespace's turn; ``first`` before what else waits of the namespace."""
        task = _Task(run)
        with self._lock:
            waiting = self._waiting.setdefault(namespace, deque())
            (waiting.appendleft if first else waiting.append)(task)
            self._start()
        return task.future

    def close(self) -> None:
        """Start nothing more; what runs is left to finish."""
        with self._lock:
            waiting = [task for tasks in self._waiting.values() for task in tasks]
            self._waiting.clear()
        for task in waiting:
            task.future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def finished(self, seconds: float) -> bool:
        """Wait so long for what runs to end; returns whether it did."""
        with self._lock:
            return self._idle.wait_for(lambda: not self._running, seconds)

    def _start(self) -> None:
        """Start what may start; the lock is held."""
        while sum(self._running.values()) < self._most:
            ready = [one for one in self._waiting if self._running.get(one, 0) < self._each]
            if not ready:
                return
            namespace = min(ready, key=lambda one: self._running.get(one, 0))
            tasks = self._waiting[namespace]
            task = tasks.popleft()
            # To the end of the line: a dictionary keeps the order of insertion.
            del self._waiting[namespace]
            if tasks:
                self._waiting[namespace] = tasks
            if not task.future.set_running_or_notify_cancel():
                continue
            self._running[namespace] = self._running.get(namespace, 0) + 1
            self._pool.submit(self._run, namespace, task)

    def _run(self, namespace: str, task: _Task[Any]) -> None:
        try:
            found = task.run()
        except BaseException as error:  # noqa: BLE001 (it belongs to whoever waits for the future)
            task.future.set_exception(error)
        else:
            task.future.set_result(found)
        with self._lock:
            self._running[namespace] -= 1
            if not self._running[namespace]:
                del self._running[namespace]
            self._start()
            self._idle.notify_all()
