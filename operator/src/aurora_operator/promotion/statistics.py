"""The ratio of two ratios of sums, and an interval for it that is valid at every analysis.

Each side's metric is R = Σx / Σy over independent units (requests, or time slices). By the delta method

    Var(log R) ≈ (s_xx / x̄² - 2 s_xy / (x̄ ȳ) + s_yy / ȳ²) / n,

and log(R_candidate / R_stable) has the sum of both sides' variances. Repeated analyses inflate the error of a
fixed-horizon interval without bound, so the interval is an asymptotic confidence sequence, Robbins' normal mixture
with the estimated variance plugged in:

    half-width = sqrt( V (V + τ²) / τ² · log((V + τ²) / (V α²)) ),

where V is the variance of the estimate now and τ the scale of effects for which it is tightest. With probability
1 - α it covers the truth at all analyses together, however many.

- H. Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math. Statist. 41 (1970).
- R. Johari, P. Koomen, L. Pekelis, D. Walsh, Always valid inference, Operations Research 70 (2022).
- I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas, Time-uniform central limit theory and asymptotic
  confidence sequences, Ann. Statist. 52 (2024).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_HUGE = 1e60
"""Sums beyond it, infinite ones and NaN prove nothing; below it no formula here overflows."""
_NO_SPREAD = 1e-12
"""A variance of logs that is below it is rounding of equal numbers."""
EFFECT_SCALE = 0.1
"""τ: a tenth on the log scale, the size of improvement that one publication brings."""


@dataclass(frozen=True)
class Sums:
    """The six sums of one side: n units, Σx, Σy, Σx², Σxy, Σy²."""

    n: float = 0
    x: float = 0
    y: float = 0
    xx: float = 0
    xy: float = 0
    yy: float = 0

    @classmethod
    def of(cls, units: Iterable[tuple[float, float]]) -> Self:
        """The sums of units (x, y)."""
        pairs = list(units)
        return cls(
            len(pairs),
            sum(x for x, _ in pairs),
            sum(y for _, y in pairs),
            sum(x * x for x, _ in pairs),
            sum(x * y for x, y in pairs),
            sum(y * y for _, y in pairs),
        )

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    @property
    def ratio(self) -> float | None:
        """Σx / Σy, or None without any evidence."""
        return self.x / self.y if 0 < self.x < _HUGE and 1 / _HUGE < self.y < _HUGE else None

    def log_variance(self) -> float | None:
        """Variance of log(Σx / Σy) by the delta method; None with fewer than three units.

        The factor (n - 1) / (n - 2) of the sample variance's bias at small n is widened to (n - 1) / (n - 3) above
        three units, which covers the extra spread of a t statistic where units are few (time slices).
        """
        if self.n < 3 or self.ratio is None:  # noqa: PLR2004 (a variance and its own uncertainty)
            return None
        if not all(abs(value) < _HUGE for value in (self.n, self.xx, self.xy, self.yy)):
            return None
        mean_x, mean_y = self.x / self.n, self.y / self.n
        s_xx = self.xx / self.n - mean_x**2
        s_xy = self.xy / self.n - mean_x * mean_y
        s_yy = self.yy / self.n - mean_y**2
        spread = s_xx / mean_x**2 - 2 * s_xy / (mean_x * mean_y) + s_yy / mean_y**2
        return max(0.0, spread) / max(1.0, self.n - 3)


@dataclass(frozen=True)
class Interval:
    """Candidate over stable, as a ratio.

    Attributes:
        estimate: the ratio.
        lower, upper: its confidence sequence now.
    """

    estimate: float
    lower: float
    upper: float


def half_width(variance: float, alpha: float, scale: float = EFFECT_SCALE) -> float:
    """Half-width of the confidence sequence on the log scale.

    Args:
        variance: of the estimate, > 0.
        alpha: 1 - confidence.
        scale: τ.
    """
    total = variance + scale**2
    return math.sqrt(variance * total / scale**2 * math.log(total / (variance * alpha**2)))


def compare(candidate: Sums, stable: Sums, confidence: float) -> Interval | None:
    """Candidate over stable; None while either side has too little to say anything.

    Units of both sides that are all alike (one prober that repeats itself) show no spread: they are one observation
    seen again, and prove nothing, however many.
    """
    a, b = candidate.log_variance(), stable.log_variance()
    top, bottom = candidate.ratio, stable.ratio
    if a is None or b is None or top is None or bottom is None:
        return None
    if a + b < _NO_SPREAD:
        return None
    width = half_width(max(a + b, 1e-8), 1 - confidence)
    center = math.log(top / bottom)
    return Interval(math.exp(center), math.exp(center - width), math.exp(min(700.0, center + width)))


def regressed(now: Sums, before: float, before_variance: float, confidence: float, limit: float) -> bool:
    """Whether a side's ratio is proved to have regressed by more than ``limit``, a negative difference of logs.

    Args:
        now: the side's sums lately.
        before: its ratio then.
        before_variance: variance of the ratio's log then.
        confidence: as in :func:`compare`.
        limit: for example log 0.95.
    """
    variance, ratio = now.log_variance(), now.ratio
    if variance is None or ratio is None:
        return False
    width = half_width(max(variance + before_variance, 1e-8), 1 - confidence)
    return math.log(ratio / before) + width < limit
