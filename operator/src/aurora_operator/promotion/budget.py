"""How often a draft that is not better may be promoted, over an endless sequence of trials: a bucket of probability.

The bucket has at most A = 1 - confidence and fills at a rate of r per second. A trial that begins takes half of what
is in it, α, for itself, and promotes with a probability of at most α where the draft is not better. α is fixed before
the trial, so the expected number of such promotions in a time T is at most the sum of all α that were taken in it, and
that is at most A + r T: by linearity of expectation alone, however trials depend on each other, whoever chooses which
versions are tried, and also where a trial is superseded.
"""

from datetime import datetime

from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Budget

WEEK_SECONDS = 7 * 86400.0
SMALLEST = 1e-9
"""What a trial has at least, so that its arithmetic stays finite."""


def taken(gate: Gate, budget: Budget | None, now: datetime) -> tuple[float, Budget]:
    """What a trial that begins now may spend, and what is left of the budget afterwards."""
    full = 1 - gate.confidence
    left, since = full, now
    if budget is not None:
        rate = gate.false_promotions_per_week / WEEK_SECONDS
        left = min(full, budget.left + rate * max(0.0, (now - budget.since).total_seconds()))
        # No second fills it twice, also where a clock was set back in between.
        since = max(now, budget.since)
    alpha = max(SMALLEST, left / 2)
    return alpha, Budget(left=max(SMALLEST, left - alpha), since=since)
