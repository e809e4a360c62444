"""Tasks that start as soon as what they need is done, several at a time."""

from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Self

from workshop.process import StoppedError
from workshop.progress import Progress, Step


@dataclass(frozen=True)
class Task:
    """A step that may run while others do.

    Attributes:
        expected: seconds, where it never ran before.
        after: names of the tasks that must be done first.
    """

    name: str
    expected: float
    run: Callable[[Step], None]
    after: tuple[str, ...] = ()


class Tasks:
    """Runs tasks in threads. A thread each, because they wait for other processes nearly all the time."""

    def __init__(self, progress: Progress, threads: int) -> None:
        self._progress = progress
        self._pool = futures.ThreadPoolExecutor(threads)
        self._futures: dict[str, futures.Future[None]] = {}

    @classmethod
    def start(cls, tasks: Sequence[Task], progress: Progress) -> Self:
        """Start all that need nothing, and the others as soon as they can."""
        started = cls(progress, max(1, len(tasks)))
        for task in tasks:
            needed = [started._futures[name] for name in task.after]
            started._futures[task.name] = started._pool.submit(started._run, task, needed)
        return started

    def _run(self, task: Task, needed: Sequence[futures.Future[None]]) -> None:
        for one in needed:
            if one.exception() is not None:
                message = f"{task.name} did not start: what it needs failed"
                raise StoppedError(message)
        with self._progress.step(task.name, task.expected) as step:
            task.run(step)

    def join(self, *names: str) -> None:
        """Wait for tasks, for all where none is named; what fails first meanwhile, even another, is raised."""
        waited = [self._futures[name] for name in names] or list(self._futures.values())
        while True:
            failures = [error for one in self._futures.values() if one.done() and (error := one.exception())]
            failures.sort(key=lambda error: isinstance(error, StoppedError))
            if failures:
                raise failures[0]
            if all(one.done() for one in waited):
                return
            running = [one for one in self._futures.values() if not one.done()]
            # A timeout, because a signal's handler runs between two waits only.
            futures.wait(running, timeout=0.5, return_when=futures.FIRST_COMPLETED)

    def close(self) -> None:
        """Start nothing more, and wait for the threads; their processes must have been stopped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
