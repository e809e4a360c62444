"""How sure a ratio of sums over requests is, and the difference of two on the same requests.

Requests are the unit: cycles of one request are alike, so that drawing single cycles again would claim too much. The
interval is the bias-corrected and accelerated bootstrap (Efron 1987, "Better bootstrap confidence intervals", Journal
of the American Statistical Association 82): its ends are quantiles of the statistic over requests drawn again and again
with replacement.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_DRAWS = 4000
_CHUNK = 500
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A number, and the interval that covers the true one with the confidence asked for.

    Attributes:
        value: the estimate.
        low, high: the interval's ends; None where there are fewer than two requests.
    """

    value: float
    low: float | None
    high: float | None


def _interval(rows: Floats, statistic: Callable[[Floats], Floats], confidence: float, seed: int) -> Estimate:
    """Estimate of a statistic of sums.

    Args:
        rows: [n, k], what each request adds to each of k sums.
        statistic: of sums [m, k], [m].
        confidence: of the interval, below 1.
        seed: of the draws.
    """
    n = rows.shape[0]
    total = rows.sum(0, keepdims=True)
    value = float(statistic(total)[0])
    if n < 2:  # noqa: PLR2004 (one request says nothing of others)
        return Estimate(value, None, None)
    random = np.random.default_rng(seed)
    share = np.full(n, 1 / n)
    parts = [
        statistic(random.multinomial(n, share, min(_CHUNK, _DRAWS - at)) @ rows) for at in range(0, _DRAWS, _CHUNK)
    ]
    drawn = np.sort(np.concatenate(parts))
    # The share of draws below the estimate, ties counting half; kept off 0 and 1, where no quantile is finite.
    below = float((drawn < value).mean() + (drawn == value).mean() / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / _DRAWS), 1 - 0.5 / _DRAWS))
    without = statistic(total - rows)
    away = without.mean() - without
    spread = float((away**2).sum()) ** 1.5
    acceleration = float((away**3).sum()) / (6 * spread) if spread > 0 else 0.0
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + _NORMAL.inv_cdf(tail)
        ends.append(float(np.quantile(drawn, _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted)))))
    return Estimate(value, ends[0], ends[1])


def _ratio(above: Floats, below: Floats) -> Floats:
    """Elementwise; 1 over nothing, as an accept length without cycles is."""
    out: Floats = np.divide(above, below, out=np.ones_like(above), where=below > 0)
    return out


def ratio(above: list[float], below: list[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Sum of one over sum of the other, each with a number for each request."""
    rows = np.array([above, below], dtype=np.float64).T
    return _interval(rows, lambda sums: _ratio(sums[:, 0], sums[:, 1]), confidence, seed)


def difference(
    one: tuple[list[float], list[float]],
    other: tuple[list[float], list[float]],
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Ratio of the other minus ratio of the one, paired: each request is drawn for both together."""
    rows = np.array([*one, *other], dtype=np.float64).T
    return _interval(
        rows, lambda sums: _ratio(sums[:, 2], sums[:, 3]) - _ratio(sums[:, 0], sums[:, 1]), confidence, seed
    )
