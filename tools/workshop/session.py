"""One command from its start to its end: steps, what to stop, the table, and how to resume."""

import os
import signal
import sys
from collections.abc import Callable

from workshop import interrupt
from workshop.cache import CACHE, LOGS
from workshop.process import Processes, StepError, StoppedError
from workshop.progress import Progress


class Session:
    """What a command uses while it runs.

    Attributes:
        cleanups: called in reverse order at the end, however that comes, with no step running any more.
        leave: whether processes that were started may outlive a command that succeeded.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.progress = Progress()
        self.processes = Processes(self.progress, LOGS)
        self.cleanups: list[Callable[[], None]] = []
        self.closing: list[Callable[[], None]] = []
        self.leave = False

    def run(self, body: Callable[["Session"], None]) -> int:
        """Run it; returns the exit status."""
        interrupt.adopt()
        interrupt.raised()
        code = 0
        with self.progress.ticking():
            try:
                try:
                    body(self)
                finally:
                    interrupt.ignore()
            except interrupt.Interrupted as signalled:
                code = 128 + signalled.number
                self.progress.line(f"\n{signalled}: stopping everything that this command started")
            except (StepError, StoppedError) as error:
                code = 1
                self.progress.line(f"\n{error}")
            except Exception as error:  # noqa: BLE001 (whatever it is, what was started is stopped first)
                code = 1
                self.progress.line(f"\n{type(error).__name__}: {error}")
            self._close(succeeded=code == 0)
        if self.progress.rows:
            self.progress.line(f"\n{self.progress.table()}")
        if code > 128:  # noqa: PLR2004 (the shells' convention)
            self.progress.line(
                f"stopped by {signal.Signals(code - 128).name}; nothing is left running. "
                f"`{self.name}` again resumes: what was built stays in {CACHE}"
            )
        elif code:
            self.progress.line(f"`{self.name}` failed; logs of its steps are in {LOGS}")
        return code

    def _close(self, *, succeeded: bool) -> None:
        """Stop what runs, then clean up, then end what is left below this process."""
        self.processes.stop()
        for closing in self.closing:
            closing()
        keep = succeeded and self.leave
        for cleanup in [] if keep else reversed(self.cleanups):
            try:
                cleanup()
            except Exception as error:  # noqa: BLE001 (the other cleanups come all the same)
                self.progress.line(f"cleaning up: {type(error).__name__}: {error}")
        if not keep and (left := interrupt.end_descendants()):
            self.progress.line(f"could not end the processes {left}")


def terminal_colours() -> dict[str, str]:
    """Variables that keep pytest's colours, whose output passes through a pipe."""
    return {"PY_COLORS": "1"} if sys.stdout.isatty() and "NO_COLOR" not in os.environ else {}
