"""The live view: where the loop is, in the terminal where there is one, else as plain lines now and then."""

import time
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from aurora_demo.stack import Stack
from aurora_demo.timeline import Timeline

_LINE_SECONDS = 20.0
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


def sparkline(values: list[float], low: float, high: float) -> str:
    """Values as a row of bars between ``low`` and ``high``."""
    span = max(1e-9, high - low)
    levels = [min(len(_BARS) - 1, max(0, int((v - low) / span * len(_BARS)))) for v in values]
    return "".join(_BARS[level] for level in levels)


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


class View:
    """Shows the timeline as it goes."""

    def __init__(self, *, live: bool) -> None:
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=2) if live else None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line of what happens now."""
        self._console.print(f"[bold]aurora[/bold] {text}")

    def show(self, timeline: Timeline, stack: Stack, domain: str, left: float, failed: int) -> None:
        """The newest point."""
        point, training = timeline.points[-1], stack.training()
        lengths = [p.accept_length for p in timeline.points if p.accept_length is not None][-_WIDTH:]
        speeds = [p.tokens_per_second for p in timeline.points][-_WIDTH:]
        length = f"{lengths[-1]:.2f}" if lengths else "off"
        rows = {
            "traffic": f"{domain} domain, {left:.0f} s left, {failed} failed",
            "accept length": f"{length:>5} {sparkline(lengths, 1.0, 4.0)}",
            "tokens/s": f"{point.tokens_per_second:5.0f} {sparkline(speeds, 0.0, max([*speeds, 1.0]))}",
            "draft": f"version {stack.live}, {stack.steps} steps a cycle, {len(timeline.swaps)} swaps",
            "training": (
                f"step {training.step}, loss {_shown(training.loss, 3)}, pool {training.samples}, "
                f"held-out {_shown(training.accept_length, 2)}"
            ),
        }
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for name, value in rows.items():
                table.add_row(f"[bold]{name}[/bold]", value)
            self._live.update(table)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            self._console.print(
                f"[{point.seconds:5.0f} s] " + "; ".join(f"{k} {v}" for k, v in rows.items() if k != "tokens/s"),
                soft_wrap=True,
            )
