"""What each verdict was, a line of JSON in a file, so that a long run can be made in pieces."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pieces


@dataclass(frozen=True)
class Noted:
    """A verdict.

    Attributes:
        kind: what was put on trial.
        damage: what is wrong with it; empty where nothing is.
        entries: of the history, newest first.
        seconds: from its publication to the verdict.
        right: whether it was the right one, once.
    """

    kind: str
    damage: str
    entries: list[dict[str, Any]]
    seconds: float
    right: bool


@dataclass(frozen=True)
class Piece:
    """What else happened in a piece of the run that came to its end.

    Attributes:
        kills: done, by what was killed.
        answered: requests.
        failed: requests, by how they failed.
        children: whether the resource had the same objects before and after.
    """

    kills: dict[str, int]
    answered: int
    failed: dict[str, int]
    children: bool


class Notes:
    """All of them.

    Args:
        path: the file that has those of earlier pieces and gets this one's; None for none.

    Attributes:
        verdicts, pieces: in order.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        read = pieces.earlier(path)
        self.verdicts = [Noted(**one["verdict"]) for one in read if "verdict" in one]
        self.pieces = [Piece(**one["piece"]) for one in read if "piece" in one]

    def add(self, one: Noted | Piece) -> None:
        """Keep it, at once."""
        if isinstance(one, Noted):
            self.verdicts.append(one)
        else:
            self.pieces.append(one)
        pieces.append(self._path, {"verdict" if isinstance(one, Noted) else "piece": asdict(one)})

    def count(self, kind: str) -> int:
        """Verdicts of a kind."""
        return sum(one.kind == kind for one in self.verdicts)

    def following(self, kinds: Sequence[str], count: int) -> str | None:
        """The kind that is next, the one with fewest verdicts; None where each has so many."""
        missing = [kind for kind in kinds if self.count(kind) < count]
        return min(missing, key=self.count, default=None)

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """The wrong verdicts."""
        return [asdict(one) for one in self.verdicts if not one.right]

    def summary(self) -> dict[str, object]:
        """Of all pieces: each kind's verdicts and times in seconds, kills and requests."""
        by_kind = {}
        for kind in dict.fromkeys(one.kind for one in self.verdicts):
            found = [one for one in self.verdicts if one.kind == kind]
            seconds = [one.seconds for one in found]
            by_kind[kind] = {
                "right": sum(one.right for one in found),
                "of": len(found),
                "median_seconds": statistics.median(seconds),
                "longest_seconds": max(seconds),
                "median_requests": statistics.median(one.entries[0]["requests"] for one in found),
            }
        return {
            "kinds": by_kind,
            "damaged": Counter(one.damage for one in self.verdicts if one.damage and one.right),
            "wrong": self.wrong,
            "pieces": len(self.pieces),
            "kills": sum((Counter(one.kills) for one in self.pieces), Counter()),
            "requests_answered": sum(one.answered for one in self.pieces),
            "failed_by": sum((Counter(one.failed) for one in self.pieces), Counter()),
        }
