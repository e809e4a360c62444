"""One worker for each resource: reconciles when something happened, and by itself every few seconds."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from aurora_operator import metrics
from aurora_operator.errors import OperatorError
from aurora_operator.workers import FairWorkers

log = logging.getLogger(__name__)

_FIRST_BACKOFF, _LAST_BACKOFF = 1.0, 60.0
_PAUSE = 0.5
"""Between the end of a reconcile and the next one, however long it took."""
RECONCILES_AT_ONCE, OF_A_NAMESPACE = 128, 16
"""A reconcile mostly waits; agents of one namespace that hang must not keep the others waiting."""
CLOSE_SECONDS = 10.0
"""How long a reconcile that runs is waited for at the end of the process."""
STALLED_SECONDS = 180.0
"""So long without the end of any reconcile, though one is due, and the process is taken for stuck. Longer than any one
reconcile may take: each of its requests has its deadline."""


class Name(NamedTuple):
    """Namespace and name of a resource."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Controller:
    """Runs ``reconcile`` for each resource, never twice at once for the same one.

    Args:
        reconcile: reconciles one resource; returns the seconds from its start to that of the next, or None where the
            resource is gone.
    """

    def __init__(self, reconcile: Callable[[Name], float | None]) -> None:
        self._reconcile = reconcile
        self._threads = FairWorkers(RECONCILES_AT_ONCE, OF_A_NAMESPACE, "reconcile")
        self._due = 0
        self._progress = time.monotonic()
        self._wakes: dict[Name, asyncio.Event] = {}
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._woken: dict[Name, float] = {}

    def nudge(self, name: Name) -> None:
        """An object with this resource's name as its label changed; does nothing where there is no such resource."""
        if name in self._tasks:
            self.wake(name)

    def wake(self, name: Name) -> None:
        """Something about a resource changed."""
        self._woken.setdefault(name, time.monotonic())
        if name not in self._tasks:
            self._wakes[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._work(name), name=f"reconcile {name}")
        self._wakes[name].set()

    def stalled_seconds(self, now: float | None = None) -> float:
        """For how long nothing was finished though something is due, in seconds of the monotonic clock."""
        return (time.monotonic() if now is None else now) - self._progress if self._due else 0.0

    async def close(self) -> bool:
        """End all workers; returns whether all that ran came to its end soon, and nothing is done any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.close()
        return await asyncio.to_thread(self._threads.finished, CLOSE_SECONDS)

    async def _run(self, name: Name, *, woken: bool) -> float | None:
        if not self._due:
            self._progress = time.monotonic()
        self._due += 1
        try:
            # What changed does not wait for an entire fleet that is at rest.
            found = self._threads.submit(name.namespace, lambda: self._reconcile(name), first=woken)
            return await asyncio.wrap_future(found)
        finally:
            self._due -= 1
            self._progress = time.monotonic()

    async def _work(self, name: Name) -> None:
        wake = self._wakes[name]
        backoff = _FIRST_BACKOFF
        try:
            while True:
                wake.clear()
                started = time.monotonic()
                woken = self._woken.pop(name, None)
                try:
                    wait = await self._run(name, woken=woken is not None)
                    backoff = _FIRST_BACKOFF
                except Exception as error:
                    # Whatever it is: it must not end the worker, or nothing would reconcile after this resource again.
                    metrics.failures.labels(str(name), "reconcile").inc()
                    expected = isinstance(error, OperatorError)
                    log.warning("%s: %s", name, error if expected else repr(error), exc_info=not expected)
                    wait = backoff * random.uniform(0.5, 1.5)  # noqa: S311 (jitter)
                    backoff = min(_LAST_BACKOFF, 2 * backoff)
                took = time.monotonic() - started
                metrics.reconcile_seconds.observe(took)
                if woken is not None:
                    metrics.reaction_seconds.observe(started + took - woken)
                if wait is None:
                    if wake.is_set():
                        # Another of its name came while the reconcile still saw the one that is gone.
                        continue
                    return
                try:
                    async with asyncio.timeout(max(_PAUSE, wait - took)):
                        await wake.wait()
                    # Changes come in bursts; one reconcile sees them all.
                    await asyncio.sleep(0.3)
                except TimeoutError:
                    continue
        finally:
            del self._tasks[name], self._wakes[name]
            self._woken.pop(name, None)
