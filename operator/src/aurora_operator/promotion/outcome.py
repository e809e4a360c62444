"""How a trial ends, and how stable changes: one transition each, with its Event and its place in the history."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from aurora_operator.api.status import Anchor, Candidate, Entry, Stable
from aurora_operator.promotion import anchor
from aurora_operator.promotion.challenge import recheck_after
from aurora_operator.promotion.progress import Progress, entry_of


class _Verdicts(NamedTuple):
    """The verdicts of a kind of trial, by how it ended."""

    won: str
    lost: str


VERDICTS = {
    "NewVersion": _Verdicts("Promoted", "Rejected"),
    "TargetOnly": _Verdicts("SpeculationOff", "SpeculationKept"),
    "Again": _Verdicts("SpeculationOn", "SpeculationStaysOff"),
    "Previous": _Verdicts("RolledBack", "StableKept"),
    "Best": _Verdicts("RolledBack", "StableKept"),
}
EVENTS = sorted(
    {"TrialBegan", "Superseded", "Paused", "NoEvidence", *(word for pair in VERDICTS.values() for word in pair)}
)
"""What is counted of promotion, by reason."""


def _accept_length(at: Progress, candidate: Candidate, *, proved: bool) -> dict[str, Any]:
    """What a fall of accept length will be measured against.

    A promotion without proof answers for what was served before; after one by speed the first window shows it.
    """
    if not proved and at.stable.steps:
        known = at.stable.accept_length is not None
        return {
            "accept_length": at.stable.accept_length,
            "accept_variance": at.stable.accept_variance,
            "accept_confirmed": known,
        }
    if candidate.metric == "AcceptLength":
        return {"accept_length": candidate.value, "accept_variance": candidate.variance}
    return {"accept_length": None, "accept_variance": None}


def won(
    at: Progress,
    candidate: Candidate,
    reason: str,
    now: datetime,
    *,
    proved: bool = True,
    references: Mapping[str, float] | None = None,
) -> Progress:
    """The candidate becomes stable.

    Args:
        at: where promotion stands.
        candidate: the winner.
        reason: why it won.
        now: the time.
        proved: whether its accept length was proved.
        references: what guards measured of the version that was stable.
    """
    stable = at.stable
    back: tuple[int | None, int | None]
    match candidate.kind:
        case "NewVersion":
            back = stable.version, stable.steps
        case "Previous" | "Best":
            back = None, None
        case _:  # the same version, with speculation on or off
            back = stable.previous, stable.previous_steps
    new = Stable(
        version=candidate.version,
        digest=stable.digest if candidate.version == stable.version else candidate.digest,
        steps=candidate.steps,
        since=now,
        previous=back[0],
        previous_steps=back[1],
        guard_references=dict(references or {}),
        # Only a trial by speed says whether speculation pays.
        checked=now if candidate.metric == "DecodeSpeed" else stable.checked,
        recheck_after=stable.recheck_after,
        **_accept_length(at, candidate, proved=proved),
    )
    word = VERDICTS[candidate.kind].won
    entry = entry_of(word, reason, candidate, now)
    if candidate.kind in {"Previous", "Best"}:
        # The history names the version that the verdict is about: the one that had to go.
        entry = entry.model_copy(update={"version": stable.version})
    decided = max(at.decided, candidate.version, stable.version)
    at = replace(at, stable=new, candidate=None, decided=decided, anchor=_best(at, candidate, proved=proved))
    at = at.recorded(entry)
    how = f"drafting {new.steps} tokens a cycle" if new.steps else "without speculation"
    return at.reported(
        word,
        f"version {new.version} is stable, {how}: {reason}",
        warn=candidate.kind in {"TargetOnly", "Previous", "Best"},
    )


def _best(at: Progress, candidate: Candidate, *, proved: bool) -> Anchor | None:
    """The best version so far once a candidate won; None where it is stable itself."""
    match candidate.kind:
        case "NewVersion":
            return anchor.after(at.anchor, at.stable, candidate) if proved else None
        case "Previous" | "Best":
            return None
        case _:  # Speculation on or off, which says nothing of versions but where the best so far was none at all.
            return at.anchor if at.anchor is not None and at.anchor.steps else None


def lost(at: Progress, candidate: Candidate, reason: str, now: datetime, verdict: str | None = None) -> Progress:
    """The candidate's trial ends and stable stays."""
    word = verdict or VERDICTS[candidate.kind].lost
    stable = at.stable
    if candidate.kind in {"TargetOnly", "Again"}:
        stable = stable.model_copy(update={"checked": now, "recheck_after": recheck_after(candidate, now)})
    if candidate.kind == "Previous":
        # Traffic changed for both: what stable reaches now is what the next fall is measured against.
        afresh = {"accept_length": None, "accept_variance": None, "accept_confirmed": False, "accept_since": now}
        stable, at = stable.model_copy(update=afresh), replace(at, challenged=now)
    if candidate.kind == "Best":
        at = replace(at, anchor=anchor.compared(at.anchor, candidate))
    decided = max(at.decided, candidate.version) if candidate.kind == "NewVersion" else at.decided
    at = replace(at, stable=stable, candidate=None, decided=decided)
    at = at.recorded(entry_of(word, reason, candidate, now))
    return at.reported(word, f"version {candidate.version}: {reason}", warn=word == "Rejected")


def withheld(at: Progress, candidate: Candidate, reason: str, now: datetime) -> Progress:
    """The candidate would be promoted, were it not for the best version so far, which challenges stable next."""
    best = None if at.anchor is None else at.anchor.model_copy(update={"doubted": True})
    return lost(replace(at, anchor=best), candidate, reason, now)


def unproved(at: Progress, candidate: Candidate, reason: str, now: datetime) -> Progress:
    """The trial ends without a verdict, because there was too little traffic; it may be tried again."""
    at = replace(at, candidate=None).recorded(entry_of("NoEvidence", reason, candidate, now))
    return at.reported("NoEvidence", f"version {candidate.version} had no verdict and may be tried again: {reason}")


def paused(at: Progress, candidate: Candidate, now: datetime) -> Progress:
    """The trial ends without a verdict; it begins again when promotion resumes."""
    at = replace(at, candidate=None).recorded(entry_of("Paused", "manually", candidate, now))
    return at.reported("Paused", f"version {candidate.version}: the trial is paused, and begins again on resume")


def rolled_back(at: Progress, back: Stable, reason: str, now: datetime) -> Progress:
    """Stable is an earlier version again; the version that had to go is not tried again."""
    stable = at.stable
    message = f"rolled back from version {stable.version} to {back.version}: {reason}"
    entry = Entry(time=now, version=stable.version, verdict="RolledBack", reason=message)
    decided = max(at.decided, stable.version, back.version)
    at = replace(at, stable=back, candidate=None, decided=decided, anchor=None).recorded(entry)
    return at.reported("RolledBack", message, warn=True)
