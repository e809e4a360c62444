"""Processes that are started, waited for and stopped by their ids."""

import collections
import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workshop.cache import LOGS, ROOT
from workshop.progress import Progress, Step

_TAIL = 25
"""Lines of a log that are shown when a step fails."""
_GRACE = 20.0
"""Seconds that an interrupted step has to end what it started itself."""


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class StepError(Exception):
    """A step failed; the message says which, and where its output is."""


class StoppedError(Exception):
    """Nothing is started any more, because everything is being stopped."""


def exists(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and theirs, children first."""
    children = collections.defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children[int(path.read_text().rpartition(")")[2].split()[1])].append(int(path.parent.name))
    found, queue = [], [pid]
    while queue:
        below = children[queue.pop()]
        found += below
        queue += below
    return found


def end(pids: Sequence[int], number: int, seconds: float) -> list[int]:
    """Send a signal to processes, and wait for their ends; returns those that still run."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if exists(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@dataclass
class Processes:
    """Runs the commands of steps, each in a process group of its own."""

    progress: Progress
    logs: Path = LOGS
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    grace: float = _GRACE

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    @contextlib.contextmanager
    def _started(self, command: Sequence[str | Path], environment: Mapping[str, str], **streams: object):  # type: ignore[no-untyped-def]  # noqa: ANN202
        with self._lock:
            if self._stopped:
                message = "stopping"
                raise StoppedError(message)
            process = subprocess.Popen(
                [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True,
                env=self.environment | dict(environment), **streams,
            )  # type: ignore[call-overload]  # fmt: skip
            self._running.add(process)
        try:
            yield process
        finally:
            if process.poll() is None:
                self._stop([process])
            with self._lock:
                self._running.discard(process)

    def logged(self, step: Step, *command: str | Path, **environment: str) -> str:
        """Run a command of a step; returns what it wrote to stdout, and keeps all else in the step's log.

        Raises:
            StepError: it failed; with the last lines of the log.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{step.name.replace(' ', '-').replace('/', '-')}.log"
        with path.open("ab") as log:
            log.write(f"$ {' '.join(map(str, command))}\n".encode())
            log.flush()
            with self._started(command, environment, stdout=subprocess.PIPE, stderr=log) as process:
                out, _ = process.communicate()
            log.write(out)
        if process.returncode:
            tail = "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL:])
            message = f"{step.name} failed with status {process.returncode}; its log is {path}, which ends:\n{tail}"
            raise StepError(message)
        return str(out.decode(errors="replace"))

    def shown(self, step: Step, *command: str | Path, at_end: bool = False, **environment: str) -> None:
        """Run a command whose output is for the reader, as it comes, or at its end where other steps run beside.

        Raises:
            StepError: it failed.
        """
        tail = kept = b""
        with self._started(command, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            with process.stdout as output:
                while chunk := os.read(output.fileno(), 1 << 16):
                    if at_end:
                        kept += chunk
                    else:
                        self.progress.passed(step, chunk)
                    tail = (tail + chunk)[-4096:]
            code = process.wait()
        if kept:
            self.progress.passed(step, kept)
        lines = _COLOUR.sub("", tail.decode(errors="replace")).split("\n")
        step.result = next((line.strip("= ") for line in reversed(lines) if _summary(line)), "")
        if code:
            message = f"{step.name} failed with status {code}: {' '.join(map(str, command))}"
            raise StepError(message)

    def stop(self) -> None:
        """End everything that runs, and start nothing more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        self._stop(running)

    def _stop(self, running: Sequence[subprocess.Popen[bytes]]) -> None:
        """An interrupt first, as a terminal's, so that each ends what it started itself, as pytest's fixtures do."""
        pids = [pid for process in running for pid in (process.pid, *descendants(process.pid))]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        end([process.pid for process in running], 0, self.grace)
        for number, seconds in ((signal.SIGTERM, self.grace / 4), (signal.SIGKILL, 5)):
            if left := [pid for pid in pids if exists(pid)]:
                end(left, number, seconds)


def _summary(line: str) -> bool:
    """Whether a line is pytest's last, such as ``22 passed in 1469.20s (0:24:29)``."""
    return " in " in line and any(f" {word}" in line for word in ("passed", "failed", "error", "skipped"))
