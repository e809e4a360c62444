"""Sufficient statistics of accept length per draft version, over finished requests.

For request i under one draft, T_i is the tokens emitted in its verify cycles and V_i the number of cycles. The
six sums n, ΣT, ΣV, ΣT², ΣTV, ΣV² are all that the delta method needs for the ratio ΣT / ΣV and its variance. A
request that sees a swap, or speculation switched on or off, is one observation of each part.
"""

from dataclasses import dataclass, field
from typing import NamedTuple


class Arm(NamedTuple):
    """What a verify cycle ran under: a draft version and the steps it drafted."""

    version: int
    steps: int


@dataclass
class Sums:
    """The six sums of one arm."""

    n: int = 0
    t: int = 0
    v: int = 0
    tt: int = 0
    tv: int = 0
    vv: int = 0

    def add(self, tokens: int, cycles: int) -> None:
        """One observation."""
        self.n += 1
        self.t += tokens
        self.v += cycles
        self.tt += tokens * tokens
        self.tv += tokens * cycles
        self.vv += cycles * cycles


@dataclass
class _Segment:
    arm: Arm
    tokens: int = 0
    cycles: int = 0


@dataclass
class AcceptCounters:
    """Sums per arm, and the open segments of running requests."""

    sums: dict[Arm, Sums] = field(default_factory=dict)
    _open: dict[str, list[_Segment]] = field(default_factory=dict)

    def cycle(self, request: str, arm: Arm, tokens: int) -> None:
        """A verify cycle of a request emitted ``tokens`` tokens, the bonus token included."""
        segments = self._open.setdefault(request, [])
        if not segments or segments[-1].arm != arm:
            segments.append(_Segment(arm))
        segments[-1].tokens += tokens
        segments[-1].cycles += 1

    def finish(self, request: str, *, count: bool) -> None:
        """A request ended; its segments become observations unless it was aborted."""
        for segment in self._open.pop(request, []):
            if count:
                self.sums.setdefault(segment.arm, Sums()).add(segment.tokens, segment.cycles)

    def keep_only(self, versions: set[int]) -> None:
        """Forget finished observations of all other versions, so that series stay bounded."""
        self.sums = {arm: sums for arm, sums in self.sums.items() if arm.version in versions}
