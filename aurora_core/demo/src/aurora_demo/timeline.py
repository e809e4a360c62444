"""What a run of the demonstration saw: its polls, its swaps, and the measurements at its end."""

from dataclasses import dataclass, field

from aurora_core.evaluation.requests import Measured


@dataclass
class Point:
    """One poll of the loop.

    Attributes:
        seconds: since the first request.
        domain: whose traffic it is.
        accept_length: of the cycles since the last poll in which a draft proposed, None where none did.
        tokens_per_second: of the answers that ended since then.
        heldout: accept length on held-out prompts in the engine, where this poll measured it.
        version: the live draft.
    """

    seconds: float
    domain: str
    accept_length: float | None
    tokens_per_second: float
    heldout: float | None
    version: int


@dataclass
class Timeline:
    """Everything that happened."""

    points: list[Point] = field(default_factory=list)
    swaps: list[tuple[float, int, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reached_two: float | None = None


@dataclass(frozen=True, kw_only=True)
class Drafts:
    """What drafts made of one domain's held-out prompts, the trainer standing still.

    Attributes:
        static: the draft of the domain before.
        adapted: the draft that this domain's traffic trained.
        kept: the draft of the last domain, for domains before it.
    """

    static: Measured | None = None
    adapted: Measured
    kept: Measured | None = None

    @property
    def kept_share(self) -> float | None:
        """Accept length that is left of the adapted draft's at the end."""
        return None if self.kept is None else self.kept.accept_length / self.adapted.accept_length


@dataclass(frozen=True, kw_only=True)
class Comparison(Drafts):
    """The same, and the target without a draft."""

    target_only: Measured
