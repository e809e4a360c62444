"""Whether stable's accept length fell: an e-detector, which begins trials and decides none.

Windows are time slices, joined until each has a few finished requests, so that a minute with one request counts as well
as a busy one. With r_n the accept length of window n and h the one that stable is held to, the bet on a fall is

    f_n = clip((log h + log 0.95 - log r_n) / (2 s_n), -1, 1),

s_n from the differences of neighbours before n, so that a fall does not widen it. The detector adds the bets of all
moments at which the fall may have begun,

    R_n = Σ_k Π_{i = k..n} (1 + λ f_i),    by the recursion    R_n = (R_{n-1} + 1) (1 + λ f_n),

and alarms where the mean of R_n over λ reaches :data:`RUN`. Where each window is as likely too low as too high by as
much, around a level that did not fall by more than 5 %, E[f_n | past] <= 0: R_n - n is a supermartingale, and the mean
number of windows until an alarm is at least RUN. Traffic that drifts keeps no such promise: a hard hour is a real fall,
of which nobody can say without a comparison whose it is. So a challenge that changed nothing forbids others for a
month (:data:`PATIENCE_SECONDS`), whatever traffic does.

- J. Shin, A. Ramdas, A. Rinaldo, E-detectors: a nonparametric framework for sequential change detection (2022).
- M. Pollak, Optimal detection of a change in distribution, Ann. Statist. 13 (1985).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aurora_operator.promotion.eprocess import BETS, FIRST_SCALE
from aurora_operator.promotion.forecast import Pace
from aurora_operator.promotion.statistics import Sums

FALL = 0.05
"""Only a fall of accept length that is proved to be larger than this share is worth a trial."""
RUN = 10_000.0
"""Windows until a false alarm, on average, where the level stays at the limit; with none of the fall, many more."""
PATIENCE_SECONDS = 30 * 86400.0
"""After a challenge that changed nothing: at most one such challenge in so long."""
FEWEST = 5
"""Finished requests of a window."""
LATELY_SECONDS = 1800.0
"""Traffic is there while the last window is no older."""


@dataclass(frozen=True)
class Window:
    """A stretch of stable's work.

    Attributes:
        ended: seconds since the epoch.
        value: log of accept length.
    """

    ended: float
    value: float


@dataclass(frozen=True)
class Watch:
    """What live traffic says of stable while nothing is on trial.

    Attributes:
        stable: accept length's sums, time slices as units.
        requests: how many finished under it.
        windows: of its work, ascending.
        pace: how fast a trial would get on; None where that is not known.
        longer: the same of trials whose time slices are so many times as long, where that is known.
    """

    stable: Sums
    requests: int
    windows: tuple[Window, ...] = ()
    pace: Pace | None = None
    longer: Mapping[int, Pace] = field(default_factory=dict)

    def busy(self, fewest: int, now: float) -> bool:
        """Whether there is traffic for a trial: so many requests, some of them lately."""
        recent = bool(self.windows) and now - self.windows[-1].ended <= LATELY_SECONDS
        return self.requests >= fewest and recent


def detected(values: Sequence[float], limit: float) -> float:
    """The e-detector's value after all windows.

    Args:
        values: logs of accept length, in order; those that are not finite are left out.
        limit: log of the lowest level that is no fall.
    """
    sums = [0.0] * len(BETS)
    count, squares, last = 0, FIRST_SCALE**2, math.nan
    for value in values:
        if not math.isfinite(value):
            continue
        scale = math.sqrt(squares / max(1, count))
        bet = max(-1.0, min(1.0, (limit - value) / (2 * scale)))
        sums = [(one + 1) * (1 + stake * bet) for one, (stake, _) in zip(sums, BETS, strict=True)]
        if not math.isnan(last):
            squares += (value - last) ** 2 / 2
        count, last = count + 1, value
    return sum(share * one for one, (_, share) in zip(sums, BETS, strict=True))


def fell(windows: Sequence[Window], held: float, variance: float) -> bool:
    """Whether accept length is proved to have fallen by more than :data:`FALL`.

    Args:
        windows: of stable's work.
        held: the accept length that it is held to, > 0.
        variance: of that value's logarithm; two standard deviations are allowed for.
    """
    limit = math.log(held) + math.log1p(-FALL) - 2 * math.sqrt(max(0.0, variance))
    return detected([one.value for one in windows], limit) >= RUN
