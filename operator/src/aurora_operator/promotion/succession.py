"""How much better a newer version is than the one on trial, by held-out requests, and how sure that is.

Held-out requests change with traffic: an accept length of today and one of yesterday say more of the two days than of
the versions. Each version was compared with its parent on the same requests when it was published, so the product of
these gains along the ancestry compares two versions on alike ones. Where a link of it is missing (a version that was
pruned, or came from elsewhere), or its uncertainty is not known, nothing compares them.

Logarithms of gains add up, and so, at most, do their standard errors, whatever the links have in common (the standard
deviation of a sum is at most the sum of standard deviations). The interval is two of these to either side.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from aurora_operator.api.status import Candidate
from aurora_operator.promotion.progress import Published

_ERRORS = 2.0
"""Standard errors to either side."""
_MOST = 50.0
"""Of a logarithm: no draft is a factor of e to that better."""


class Gain(NamedTuple):
    """A newer version's accept length over the candidate's, and the ends of its interval."""

    times: float
    lower: float
    upper: float


def over(candidate: Candidate, fresh: Published, versions: Sequence[Published]) -> Gain | None:
    """How much a newer version gains; None where nothing says it.

    Args:
        candidate: on trial.
        fresh: the newer version.
        versions: all that the volume has.
    """
    there, at = {one.version: one for one in versions}, fresh
    log, error = 0.0, 0.0
    while at.version > candidate.version:
        if at.gain is None or at.gain_error is None or at.parent is None or at.parent >= at.version:
            return None
        log, error = log + math.log(at.gain), error + at.gain_error
        if at.parent == candidate.version:
            return _gain(log, _ERRORS * error)
        if at.parent not in there:
            return None
        at = there[at.parent]
    return None


def _gain(log: float, width: float) -> Gain | None:
    if abs(log) + width > _MOST:
        return None
    return Gain(math.exp(log), math.exp(log - width), math.exp(log + width))
