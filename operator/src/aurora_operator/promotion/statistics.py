"""A ratio of sums, its variance, and the interval that is asymptotically valid at every analysis.

The metric is R = Σx / Σy over units (time slices). By the delta method

    Var(log R) ≈ (s_xx / x̄² - 2 s_xy / (x̄ ȳ) + s_yy / ȳ²) / n,

and the difference of two such logarithms has the sum of their variances. Repeated analyses inflate the error of a
fixed-horizon interval without bound; an asymptotic confidence sequence is Robbins' normal mixture with the estimated
variance plugged in:

    half-width = sqrt( V (V + τ²) / τ² · log((V + τ²) / (V α²)) ),

where V is the variance of the estimate now and τ the scale of effects for which it is tightest. It is asymptotic, and
assumes units that are alike: good enough to show, and for benchmarks. Trials are decided by
:mod:`aurora_operator.promotion.eprocess`, falls are noticed by :mod:`aurora_operator.promotion.watch`.

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
NO_END = 1e6
"""A ratio that no draft reaches: an interval that ends beyond it, or below its inverse, has no bound there yet."""
EFFECT_SCALE = 0.1
"""τ: a tenth on the log scale, the size of improvement that one publication brings."""


@dataclass(frozen=True)
class Sums:
    """The six sums of one arm: n units, Σx, Σy, Σx², Σxy, Σy²."""

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
        if 0 in {mean_x**2, mean_x * mean_y, mean_y**2}:
            # Tokens in so small a number that their square is none.
            return None
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

    @property
    def ends(self) -> str:
        """Both ends as text."""
        return ends(self.lower, self.upper)


def moved(lower: float | None, upper: float | None) -> tuple[float | None, float | None]:
    """The ends of a ratio's interval; None for one that no data has moved yet."""
    return (
        lower if lower is not None and lower > 1 / NO_END else None,
        upper if upper is not None and upper < NO_END else None,
    )


def ends(lower: float | None, upper: float | None) -> str:
    """The ends of a ratio's interval as text; an end that no data has moved yet, or that is None, is no number."""
    least, most = moved(lower, upper)
    known = [] if least is None else [f"at least {least:.3f}"]
    known += [] if most is None else [f"at most {most:.3f}"]
    return ", ".join(known) or "no bound yet"


def half_width(variance: float, alpha: float, scale: float = EFFECT_SCALE) -> float:
    """Half-width of the confidence sequence on the log scale.

    Args:
        variance: of the estimate, > 0.
        alpha: 1 - confidence.
        scale: τ.
    """
    total = variance + scale**2
    return math.sqrt(variance * total / scale**2 * math.log(total / (variance * alpha**2)))
