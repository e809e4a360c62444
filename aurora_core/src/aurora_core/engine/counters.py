"""Sufficient statistics per draft version, over finished requests: of accept length and of decode speed.

Both are ratios of sums. For request i under one draft:

- accept length: T_i tokens emitted in its verify cycles over V_i cycles;
- decode speed: E_i tokens emitted after its first cycle over the D_i seconds that they took. It counts with
  speculation off too, where accept length says nothing.

The six sums n, Σx, Σy, Σx², Σxy, Σy² are all that the delta method needs for Σx / Σy and its variance. A request that
sees a swap, or speculation switched on or off, is one observation of each part.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from aurora_core.protocol.engine import ArmCounters

KEPT = 3
"""Versions with counters: live, previous and candidate."""


class Arm(NamedTuple):
    """What a verify cycle ran under: a draft version and the steps it drafted."""

    version: int
    steps: int


@dataclass
class Sums:
    """The six sums of a ratio Σx / Σy."""

    n: int = 0
    x: float = 0
    y: float = 0
    xx: float = 0
    xy: float = 0
    yy: float = 0

    def add(self, x: float, y: float) -> None:
        """One observation."""
        self.n += 1
        self.x += x
        self.y += y
        self.xx += x * x
        self.xy += x * y
        self.yy += y * y


@dataclass
class ArmSums:
    """Everything counted of one arm."""

    accept: Sums = field(default_factory=Sums)
    decode: Sums = field(default_factory=Sums)

    def reported(self, arm: Arm) -> ArmCounters:
        """As the engine reports it."""
        return ArmCounters(
            version=arm.version,
            steps=arm.steps,
            accept_observations=self.accept.n,
            accept_tokens=self.accept.x,
            accept_cycles=self.accept.y,
            accept_tokens_squared=self.accept.xx,
            accept_tokens_cycles=self.accept.xy,
            accept_cycles_squared=self.accept.yy,
            decode_observations=self.decode.n,
            decode_tokens=self.decode.x,
            decode_seconds=self.decode.y,
            decode_tokens_squared=self.decode.xx,
            decode_tokens_seconds=self.decode.xy,
            decode_seconds_squared=self.decode.yy,
        )


@dataclass
class _Segment:
    arm: Arm
    started: float | None
    ended: float = 0.0
    tokens: int = 0
    cycles: int = 0
    timed_tokens: int = 0


class AcceptCounters:
    """Sums per arm, and the open segments of running requests.

    Arms are kept of the :data:`KEPT` versions that were live last, so that the number of series does not grow with the
    number of versions. A trial alternates between two of them, whose counters therefore never go back.

    Args:
        live: the version that is live at the start.

    Attributes:
        sums: of each arm.
    """

    def __init__(self, live: int) -> None:
        self.sums: dict[Arm, ArmSums] = {}
        self._served = [live]
        self._open: dict[str, list[_Segment]] = {}

    def activated(self, version: int) -> None:
        """Another version is live: the one that was live longest ago is forgotten where there are too many."""
        self._served = [version, *(one for one in self._served if one != version)][:KEPT]
        self.sums = {arm: sums for arm, sums in self.sums.items() if arm.version in self._served}

    def cycle(self, request: str, arm: Arm, tokens: int, now: float) -> None:
        """A verify cycle of a request emitted ``tokens`` tokens, the bonus token included, and ended at ``now``."""
        segments = self._open.setdefault(request, [])
        if not segments or segments[-1].arm != arm:
            # The first cycle's start is not known; a later segment's first cycle began where the last one ended.
            segments.append(_Segment(arm, segments[-1].ended if segments else None))
        segment = segments[-1]
        if segment.started is None:
            segment.started = now
        else:
            segment.timed_tokens += tokens
        segment.ended = now
        segment.tokens += tokens
        segment.cycles += 1

    def finish(self, request: str, *, count: bool) -> None:
        """A request ended; its segments become observations unless it was aborted, or their version is forgotten."""
        for segment in self._open.pop(request, []):
            if not count or segment.arm.version not in self._served:
                continue
            sums = self.sums.setdefault(segment.arm, ArmSums())
            sums.accept.add(segment.tokens, segment.cycles)
            if segment.timed_tokens and segment.started is not None:
                sums.decode.add(segment.timed_tokens, segment.ended - segment.started)
