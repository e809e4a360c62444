"""What promotion knows of versions and pods, and where it stands after an analysis."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from aurora_core.protocol.agent import Volume

from aurora_operator.api.status import HISTORY, Anchor, Budget, Candidate, Entry, Forecast, Stable


@dataclass(frozen=True)
class Published:
    """A version on the volume.

    Attributes:
        holdout: simulated accept length on the held-out requests of its publication.
        digest: of its manifest.
        parent: the version before it; None where that is not known.
        gain: its accept length over its parent's, both on those requests; None where that is not known.
        gain_error: standard error of that gain's logarithm; None where that is not known.
    """

    version: int
    holdout: float | None
    digest: str = ""
    parent: int | None = None
    gain: float | None = None
    gain_error: float | None = None


@dataclass(frozen=True)
class Pod:
    """An engine pod, as its agent reports it.

    Attributes:
        name, address: of the pod.
        live, steps: what it serves now; None where the agent does not answer.
        rate: share of requests that it captures.
        share: of that rate, while samples are not taken as fast.
        paused: why nobody takes its samples; empty where one is taken.
        failed: versions that it refused, and why.
        problem: why the agent does not answer.
        dtype: type that its engine computes in; empty where it does not say.
        fallback: why its engine serves target-only instead of what it should; empty where it does not.
        volume: how full the volume is that it reads; None where it is unknown.
        volume_problem: why it cannot.
    """

    name: str
    address: str
    live: int | None = None
    steps: int | None = None
    rate: float | None = None
    share: float = 1.0
    paused: str = ""
    failed: Mapping[int, str] = field(default_factory=dict)
    problem: str = ""
    dtype: str = ""
    fallback: str = ""
    volume: Volume | None = None
    volume_problem: str = ""


@dataclass(frozen=True)
class Note:
    """An Event for people."""

    kind: str
    reason: str
    message: str


@dataclass(frozen=True)
class Progress:
    """Where promotion stands after an analysis.

    Attributes:
        provisional: whether stable is a guess: no status, and no agent has reported yet what the volume records.
        budget: for false promotions.
        challenged: when the version before last challenged stable in vain.
        forecast: how long trials take.
        anchor: the best version so far; None where it is stable.
        unheeded: annotations of a person by which nothing happens, and why.
    """

    stable: Stable
    candidate: Candidate | None
    decided: int
    history: tuple[Entry, ...]
    notes: tuple[Note, ...]
    reason: str
    message: str
    provisional: bool = False
    budget: Budget | None = None
    challenged: datetime | None = None
    forecast: Forecast | None = None
    anchor: Anchor | None = None
    unheeded: str = ""

    def reported(self, verdict: str, message: str, *, warn: bool = False) -> "Progress":
        """The same, with an Event and the reason that conditions show."""
        note = Note("Warning" if warn else "Normal", verdict, message)
        return replace(self, notes=(*self.notes, note), reason=verdict, message=message)

    def recorded(self, entry: Entry) -> "Progress":
        """The same, with a verdict more in its history."""
        return replace(self, history=(entry, *self.history)[:HISTORY])


def entry_of(verdict: str, reason: str, candidate: Candidate, now: datetime) -> Entry:
    """A candidate's verdict with the numbers behind it."""
    return Entry(
        time=now,
        version=candidate.version,
        verdict=verdict,
        reason=reason,
        estimate=candidate.estimate,
        lower=candidate.lower,
        upper=candidate.upper,
        requests=candidate.requests,
    )


def rounded(value: float | None) -> float | None:
    """As a status shows it."""
    return None if value is None else round(value, 4)
