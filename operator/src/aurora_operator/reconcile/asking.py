"""Prometheus is asked beside the looks: one that is slow or hangs delays no repair, no load and no time slice."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aurora_operator import metrics
from aurora_operator.api.status import Status
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.trial import Found
from aurora_operator.reconcile.evidence import Ledgers
from aurora_operator.render.identity import Resource

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""How long a look waits for an answer; a later one belongs to the next look."""
STALE = timedelta(seconds=60)
"""How old an answer may be that stands in for one that is late. Counters only grow: an old answer proves less, and
nothing that is wrong."""
_QUESTIONS_AT_ONCE = 256

Measure = Callable[[Resource, Status, datetime, Ledgers], Found]


@dataclass(frozen=True)
class _Answer:
    about: tuple[Any, ...]
    asked: datetime
    found: Found


def _about(resource: Resource, status: Status) -> tuple[Any, ...]:
    """What an answer depends on, beside the time."""
    stable, candidate = status.stable, status.candidate
    trial = candidate and (candidate.kind, candidate.version, candidate.steps, candidate.since, candidate.metric)
    asked = resource.spec.promotion.model_dump_json(), resource.spec.suspend
    return stable and (stable.version, stable.steps, stable.since), trial, asked


class Asking:
    """One question at a time for each resource.

    Args:
        measure: asks Prometheus, and takes as long as that takes.
        patience: seconds.
    """

    def __init__(self, measure: Measure, patience: float = PATIENCE_SECONDS) -> None:
        self._measure = measure
        self._patience = patience
        self._threads = ThreadPoolExecutor(_QUESTIONS_AT_ONCE, thread_name_prefix="prometheus")
        self._ledgers: Ledgers = {}
        self._open: dict[str, Future[_Answer]] = {}
        self._last: dict[str, _Answer] = {}

    def found(self, resource: Resource, status: Status, now: datetime) -> Found:
        """What Prometheus tells; where it is late, what it told just now of the same, or that it does not answer."""
        name, about = resource.full_name, _about(resource, status)
        if name not in self._open or self._took(name, 0):
            self._open[name] = self._threads.submit(self._ask, about, resource, status, now)
        self._took(name, self._patience)
        last = self._last.get(name)
        if last is None or last.about != about or now - last.asked > STALE:
            return Found(evidence=Evidence(problem="Prometheus does not answer in time"))
        return last.found

    def _took(self, name: str, seconds: float) -> bool:
        """Whether the open question is answered within so many seconds."""
        question = self._open[name]
        wait([question], seconds)
        if not question.done():
            return False
        del self._open[name]
        self._last[name] = question.result()
        return True

    def forget(self, name: str) -> None:
        """A resource is gone."""
        self._ledgers.pop(name, None)
        self._open.pop(name, None)
        self._last.pop(name, None)

    def _ask(self, about: tuple[Any, ...], resource: Resource, status: Status, now: datetime) -> _Answer:
        try:
            found = self._measure(resource, status, now, self._ledgers)
        except Exception as error:
            # Whatever it is: repairs and loads need no evidence, and go on without it.
            metrics.failures.labels(resource.full_name, "evidence").inc()
            log.exception("%s: reading Prometheus failed", resource.full_name)
            found = Found(
                evidence=Evidence(problem=f"reading Prometheus failed, see the operator's log: {type(error).__name__}")
            )
        return _Answer(about, now, found)
