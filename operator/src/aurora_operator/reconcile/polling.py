"""Prometheus is polled concurrently: one that is slow or hangs delays no repair, no swap and no time slice."""

import logging
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from aurora_operator import metrics
from aurora_operator.api.status import Status
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.trial import Found
from aurora_operator.reconcile.ledger import Ledgers
from aurora_operator.render.identity import Resource
from aurora_operator.workers import FairWorkers

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""How long a reconcile waits for an answer; a later one belongs to the next."""
STALE = timedelta(seconds=60)
"""How old an answer may be that is used while the next one is late. Counters only grow: an old answer proves less, and
nothing that is wrong."""
_QUERIES_AT_ONCE, _OF_A_NAMESPACE = 256, 16
_SOON_SECONDS = 0.05
"""How long a reconcile waits for a server that was late the last time: one that hangs costs nobody a thread."""

Measure = Callable[[Resource, Status, datetime, Ledgers, frozenset[str]], Found]
"""The last are the names of the resource's own engine pods."""


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
    return stable and (stable.version, stable.steps, stable.since, stable.accept_since), trial, asked


class Polling:
    """One question at a time for each resource.

    Args:
        measure: asks Prometheus, and takes as long as that takes.
        patience: seconds.
    """

    def __init__(self, measure: Measure, patience: float = PATIENCE_SECONDS) -> None:
        self._measure = measure
        self._patience = patience
        self._threads = FairWorkers(_QUERIES_AT_ONCE, _OF_A_NAMESPACE, "prometheus")
        self._late: set[str] = set()
        self._current: dict[str, object] = {}
        self._ledgers: Ledgers = {}
        self._open: dict[str, Future[_Answer]] = {}
        self._last: dict[str, _Answer] = {}

    def found(self, resource: Resource, status: Status, now: datetime, engines: frozenset[str] = frozenset()) -> Found:
        """Prometheus' newest answer; where it is late its last one about the same, or that it does not answer.

        Counters of other pods than ``engines`` prove nothing.
        """
        name, about = resource.full_name, _about(resource, status)
        if name not in self._open or self._took(name, 0):
            current = self._current[name] = object()
            ask = partial(self._ask, current, about, resource, status, now, engines)
            self._open[name] = self._threads.submit(resource.namespace, ask)
        if self._took(name, min(_SOON_SECONDS, self._patience) if name in self._late else self._patience):
            self._late.discard(name)
        else:
            self._late.add(name)
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
        question = self._open.pop(name, None)
        if question is not None:
            question.cancel()
        self._current.pop(name, None)
        self._late.discard(name)
        self._last.pop(name, None)

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.close()

    def _ask(
        self,
        current: object,
        about: tuple[Any, ...],
        resource: Resource,
        status: Status,
        now: datetime,
        engines: frozenset[str],
    ) -> _Answer:
        try:
            found = self._measure(resource, status, now, self._ledgers, engines)
        except Exception as error:  # noqa: BLE001 (counted, logged and shown in a condition)
            # Whatever it is: repairs and swaps need no evidence, and continue without it. What the exception quotes may
            # be a credential or a stranger's text: its type and the lines of code say where it came from.
            if self._current.get(resource.full_name) is current:
                metrics.failures.labels(resource.full_name, "evidence").inc()
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s: reading Prometheus failed: %s\n%s", resource.full_name, type(error).__name__, frames)  # noqa: TRY400
            text = f"reading Prometheus failed with {type(error).__name__}, see the operator's log"
            found = Found(evidence=Evidence(problem=text))
        if self._current.get(resource.full_name) is not current:
            # The resource went meanwhile: what was read for it is nobody's.
            self._ledgers.pop(resource.full_name, None)
        return _Answer(about, now, found)
