"""The best version so far, and how far stable may be below it: many small steps down must not add up.

A promotion that is proved better than stable is better than all before it, and then the best version is stable itself.
Only a gate that allows a version to be worse (minImprovement below 0, or onInconclusive: Promote) can walk downwards,
each step within what one trial allows. So from the first such promotion on, the best version is kept as the anchor, and
the lower ends of the intervals are added up, on the log scale, into a lower end of stable over it. Each of them is
wrong with a probability of at most the trial's own, and so the sum with at most theirs together. It is assumed that
what a trial measured is true under the traffic of the next; a direct comparison, which a doubt begins, assumes nothing.
"""

import math
from collections.abc import Collection

from aurora_core.protocol.agent import Best

from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Anchor, Candidate, Stable


def after(anchor: Anchor | None, stable: Stable, candidate: Candidate) -> Anchor | None:
    """The anchor once a candidate took stable's place with its interval; None where the best version is itself.

    Args:
        anchor: before; None where stable is the best.
        stable: which is replaced.
        candidate: which replaces it.
    """
    if candidate.lower is None or candidate.estimate is None or min(candidate.lower, candidate.estimate) <= 0:
        return None
    of = anchor or Anchor(version=stable.version, digest=stable.digest, steps=stable.steps)
    lower = of.lower + math.log(candidate.lower)
    if lower >= 0:
        return None
    estimate = of.estimate + math.log(candidate.estimate)
    return of.model_copy(update={"lower": lower, "estimate": estimate, "doubted": False, "compared": False})


def below(gate: Gate, anchor: Anchor | None, candidate: Candidate) -> str | None:
    """Why a candidate that its trial would promote is not, if so: it may be too far below the best version.

    Where stable is the best version its trial was the direct comparison, and nothing is added to it.
    """
    if anchor is None or candidate.kind != "NewVersion" or candidate.lower is None or candidate.lower <= 0:
        return None
    chained = anchor.lower + math.log(candidate.lower)
    if chained >= math.log1p(-gate.max_below_best):
        return None
    return (
        f"BelowBest: with {candidate.lower:.3f} times stable at least, it is only known to be {math.exp(chained):.3f} "
        f"times version {anchor.version}, the best so far; asked for is {1 - gate.max_below_best:.3f}"
    )


def compared(anchor: Anchor | None, challenge: Candidate) -> Anchor | None:
    """The anchor after it challenged stable and was not proved better; what stable is over it was measured now."""
    if anchor is None:
        return None
    lower = anchor.lower
    if challenge.upper is not None and 0 < challenge.upper < math.inf:
        lower = max(lower, -math.log(challenge.upper))
    return None if lower >= 0 else anchor.model_copy(update={"lower": lower, "doubted": False, "compared": True})


def recorded(anchor: Anchor | None) -> Best | None:
    """As the volume records it."""
    if anchor is None:
        return None
    return Best(
        version=anchor.version,
        steps=anchor.steps,
        digest=anchor.digest or "",
        estimate=anchor.estimate,
        lower=anchor.lower,
    )


def restored(kept: Best | None, versions: Collection[int]) -> Anchor | None:
    """From the volume's record, of a version that it still has; what it doubted is found out again."""
    if kept is None or kept.version not in versions:
        return None
    return Anchor(
        version=kept.version, steps=kept.steps, digest=kept.digest or None, estimate=kept.estimate, lower=kept.lower
    )
