"""Child processes: each in a group of its own, stopped by that group and waited for."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

from aurora_core.errors import EngineError
from aurora_core.waiting import wait

_GRACE_SECONDS = 15
_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl."""


def end_with_parent() -> None:
    """From now on the kernel kills this process when its parent ends; for as long as the calling thread lives.

    A parent that ended before this call is not noticed: the process has another parent by then, and is tied to that.

    Raises:
        EngineError: the kernel refuses, or the parent ended during this call.
    """
    parent = os.getppid()
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)) != 0 or os.getppid() != parent:
        raise EngineError("this process cannot be tied to the one that started it, which may have ended")


class Process:
    """A child with its log file."""

    def __init__(self, name: str, log: Path, child: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.log = log
        self._child = child

    @classmethod
    def start(
        cls, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, nice: int = 0
    ) -> Self:
        """Start a child whose output is appended to its log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        # A child must not outlive a parent that was killed.
        command = ["setpriv", "--pdeathsig", "TERM", "nice", "-n", str(nice), *arguments]
        with log.open("ab") as file:
            child = subprocess.Popen(
                command,
                env=dict(environment),
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return cls(name, log, child)

    @classmethod
    def aurora(
        cls, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, nice: int = 0
    ) -> Self:
        """Start a child that runs this package's command line."""
        return cls.start(name, [sys.executable, "-m", "aurora_core.cli", *arguments], environment, log, nice=nice)

    @property
    def pid(self) -> int:
        """Process id, which is also the group's."""
        return self._child.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def check(self) -> None:
        """Raise EngineError with the log's end where the child has died."""
        if not self.alive():
            ended = f"{self.name} ended with status {self._child.returncode}"
            raise EngineError(f"{ended}; the end of {self.log}:\n{self.last_lines()}")

    def wait_until_healthy(self, url: str, seconds: float, stopping: threading.Event | None = None) -> None:
        """Wait until an HTTP server of the child answers with 200.

        Args:
            url: that it answers.
            seconds: how long it may take.
            stopping: ends the wait when it is set.

        Raises:
            EngineError: it died, or did not answer in time.
        """

        def ready() -> bool:
            if stopping is not None and stopping.is_set():
                return True
            self.check()
            try:
                return httpx.get(url, timeout=5).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

        wait(f"an answer of {self.name} at {url}", ready, seconds, hint=f"see {self.log}")

    def last_lines(self) -> str:
        """What the log ends with."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return

    def pause(self) -> None:
        """Stop it from running, for a measurement that it must not disturb."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused child."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the process group, at once."""
        self._signal(signal.SIGKILL)
        self._child.wait()

    def stop(self) -> None:
        """Ask it to end, and insist after a while."""
        if self.alive():
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_GRACE_SECONDS)
        # Also what the child itself left in its group.
        self.kill()
