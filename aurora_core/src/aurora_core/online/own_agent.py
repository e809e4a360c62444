"""The agent that an engine's actor starts beside its engine: another one where it ends, and the engine serves on."""

import logging
from collections.abc import Callable

import httpx

from aurora_core.child import Process
from aurora_core.errors import EngineError
from aurora_core.online.backoff import Backoff

log = logging.getLogger(__name__)

_AGENT_SECONDS = 120.0
"""How long an agent that is started again may take to answer."""
_PROBE_SECONDS = 1.0
"""Of one question: meanwhile nobody watches the engine."""


class OwnAgent:
    """One agent after the other. Nothing here waits for any of them.

    Attributes:
        up: whether the one that runs has answered.
        answered: whether any has.
        restarts: how often it was started again.
    """

    def __init__(self, name: str, url: str, start: Callable[[], Process], first_seconds: float) -> None:
        """Nothing is started yet.

        Args:
            name: of its engine, for the log.
            url: that answers with 200 when it is there.
            start: makes its process.
            first_seconds: how long the first one may take to answer.
        """
        self._name = name
        self._url = url
        self._start = start
        self._first_seconds = first_seconds
        self._process: Process | None = None
        self._started = 0.0
        self._backoff = Backoff()
        self.up = False
        self.answered = False
        self.restarts = 0

    def tend(self, now: float) -> None:
        """Start it where it does not run and it is time to, and see whether it answers.

        Args:
            now: in seconds of a clock that only rises.

        Raises:
            EngineError: the first one does not start, with the end of its log.
            OSError: the first one has no process, or no log.
        """
        try:
            if self._process is not None:
                self._process.check()
                if not self.up:
                    self._ask(now)
            elif now >= self._backoff.again:
                self.restarts += self.answered
                self._process, self._started = self._start(), now
        except (EngineError, OSError) as error:
            if not self.answered:
                raise
            self._failed(error, now)

    def _ask(self, now: float) -> None:
        try:
            self.up = httpx.get(self._url, timeout=_PROBE_SECONDS).status_code == httpx.codes.OK
        except httpx.HTTPError:
            self.up = False
        seconds = _AGENT_SECONDS if self.answered else self._first_seconds
        if self.up:
            self.answered = True
            self._backoff.well(now)
        elif now - self._started > seconds and self._process is not None:
            raise EngineError(f"no answer at {self._url} within {seconds:.0f} s; see {self._process.log}")

    def _failed(self, error: EngineError | OSError, now: float) -> None:
        if self._process is not None:
            # At once: one that hangs would take seconds to end by itself, in which nobody watches the engine.
            self._process.kill()
            self._process = None
        self.up = False
        self._backoff.failed(now)
        wait = self._backoff.again - now
        log.warning("the agent of %s is started again in %.0f s: %s", self._name, wait, error)

    def end(self) -> None:
        """Leave no process of it."""
        self.up = False
        if self._process is not None:
            self._process.stop()
            self._process = None
