"""How much better a newer version is than the one on trial, by held-out requests.

Held-out requests change with traffic: an accept length of today and one of yesterday say more of the two days than of
the versions. Each version was compared with its parent on the same requests when it was published, so the product of
these gains along the ancestry compares two versions on alike ones. Where a link of it is missing (a version that was
pruned, or came from elsewhere) the plain ratio is all there is.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aurora_operator.api.status import Candidate
from aurora_operator.promotion.progress import Published


class Gain(NamedTuple):
    """A newer version's accept length over the candidate's, and for people on which requests."""

    times: float
    note: str


def over(candidate: Candidate, fresh: Published, versions: Sequence[Published]) -> Gain | None:
    """How much a newer version gains; None where nothing says it.

    Args:
        candidate: on trial.
        fresh: the newer version.
        versions: all that the volume has.
    """
    chained = _chained(candidate.version, fresh, {one.version: one for one in versions})
    if chained is not None:
        return Gain(chained, ", each compared with the one before on the same requests")
    if not (fresh.holdout and candidate.holdout_accept_length):
        return None
    return Gain(fresh.holdout / candidate.holdout_accept_length, "")


def _chained(first: int, last: Published, there: dict[int, Published]) -> float | None:
    """The product of gains after one version up to another."""
    times, at = 1.0, last
    while at.version > first:
        if at.gain is None or at.parent is None or at.parent >= at.version:
            return None
        times *= at.gain
        if at.parent == first:
            return times
        if at.parent not in there:
            return None
        at = there[at.parent]
    return None
