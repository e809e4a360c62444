"""What runs and how long it takes: a line when a step starts, every 15 s, and when it ends; then a table.

On a terminal a line of bars, which is redrawn each second, takes the place of the lines in between.
"""

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from workshop.cache import CACHE, Durations

EVERY = 15.0
"""Seconds of silence at most."""
_AT_ONCE = 2.0
"""Seconds below which a step is not worth a line."""
_BAR = 12


@dataclass
class Step:
    """A step that runs.

    Attributes:
        expected: seconds that it will take, as far as one knows.
        began, heard: monotonic seconds of its start, and of the last line about it or output from it.
        result: a short text for the table, such as pytest's closing line.
        shown: whether its own output goes to the terminal.
        announced: whether its start was reported; what is over at once, because it is in the cache, is not.
    """

    name: str
    expected: float
    began: float
    heard: float
    result: str = ""
    shown: bool = False
    announced: bool = False


@dataclass(frozen=True)
class Row:
    """A step in the closing table: seconds since the command's start, and seconds that it took."""

    name: str
    start: float
    seconds: float
    result: str


@dataclass
class Progress:
    """Reports steps, several at a time."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    durations: Durations = field(default_factory=lambda: Durations(CACHE / "durations.json"))
    clock: Callable[[], float] = time.monotonic
    every: float = EVERY
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._running: list[Step] = []
        self._began = self.clock()
        self._bar = self._open_line = False
        self._terminal = self.out.isatty()

    def line(self, text: str) -> None:
        """A line of its own, whatever stands on the terminal now."""
        with self._lock:
            self._clear()
            print(text, file=self.out, flush=True)

    def passed(self, step: Step, output: bytes) -> None:
        """Output of a step itself, as it comes."""
        with self._lock:
            self._clear(newline=False)
            step.heard = self.clock()
            self.out.write(output.decode(errors="replace"))
            self.out.flush()
            self._open_line = not output.endswith(b"\n")

    def _clear(self, *, newline: bool = True) -> None:
        if self._bar:
            self.out.write("\r\x1b[K")
            self._bar = False
        if self._open_line and newline:
            self.out.write("\n")
            self._open_line = False

    @contextlib.contextmanager
    def step(self, name: str, expected: float, *, shown: bool = False) -> Iterator[Step]:
        """Report a step from its start to its end; the duration of one that had something to do is remembered."""
        now = self.clock()
        step = Step(name, self.durations.expected(name, expected), now, now, shown=shown)
        with self._lock:
            self._running.append(step)
            if shown:
                self._announce(step)
        outcome = "failed"
        try:
            yield step
            outcome = "done"
        finally:
            seconds = self.clock() - step.began
            with self._lock:
                self._running.remove(step)
                self.rows.append(Row(name, step.began - self._began, seconds, step.result or outcome))
            if step.announced or outcome == "failed":
                self.line(f"== {name}: {outcome} in {seconds:.0f} s")
        if step.announced:
            self.durations.record(name, seconds)

    def _announce(self, step: Step) -> None:
        step.announced = True
        step.heard = self.clock()
        self.line(f"== {step.name}: started, about {step.expected:.0f} s")

    def tick(self) -> None:
        """Break a silence; called about once per second."""
        now = self.clock()
        with self._lock:
            for step in self._running:
                if not step.announced and now - step.began >= _AT_ONCE:
                    self._announce(step)
            if self._terminal and self._running and not any(step.shown for step in self._running):
                text = "  ".join(_bar(step, now) for step in self._running)
                self._clear()
                self.out.write(text[: shutil.get_terminal_size().columns - 1])
                self.out.flush()
                self._bar = True
                return
            for step in self._running:
                if now - step.heard >= self.every:
                    step.heard = now
                    self.line(f"   {step.name}: {now - step.began:.0f} s of about {step.expected:.0f} s")

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Break silences until the end."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(1):
                self.tick()

        thread = threading.Thread(target=beat, daemon=True, name="progress")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def table(self) -> str:
        """Stages and times."""
        width = max([len(row.name) for row in self.rows] + [len("stage")])
        lines = [f"{'stage':{width}}  {'from s':>7} {'took s':>7}  result"]
        lines += [
            f"{row.name:{width}}  {row.start:7.0f} {row.seconds:7.0f}  {row.result}"
            for row in sorted(self.rows, key=lambda row: row.start)
        ]
        lines.append(f"{'all':{width}}  {0:7.0f} {self.clock() - self._began:7.0f}")
        return "\n".join(lines)


def _bar(step: Step, now: float) -> str:
    took = now - step.began
    filled = min(_BAR, int(_BAR * took / max(step.expected, 1)))
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {step.name} {took:.0f}/{step.expected:.0f} s"
