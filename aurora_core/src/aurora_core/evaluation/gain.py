"""Whether a draft's accept length is longer than another's on the same requests: a paired t test.

Requests are the units, and both drafts answer each of them, so that what a request has of its own (easy or hard, long
or short) cancels. Accept length is a ratio of sums, L = Σt / Σv of tokens t and cycles v. By the delta method a request
adds to the difference of two of them

    ψ = (t_1 - L_1 v_1) / mean(v_1) - (t_0 - L_0 v_0) / mean(v_0),

and the difference has the standard error sqrt(Σψ² / (n (n - 1))). Cycles are integers: no request is known better
than to the rounding of one, whose variance of 1/12 of a cycle for either draft is the least that is assumed.

Training evaluates again and again, with other weights each time. The k-th evaluation since the last publication may be
wrong with a probability of α / (k (k + 1)); these add up to α (Bonferroni), whatever evaluations have in common, so
that a published version is not better by more than asked for with a probability of at most α.

- Student, The probable error of a mean, Biometrika 6 (1908).
"""

import math
from dataclasses import dataclass

from aurora_core.evaluation.accept import Accepted

FEWEST = 3
"""Requests that say anything of how requests differ."""
_ROUNDING = 1 / 12


@dataclass(frozen=True)
class Gain:
    """Accept lengths of two drafts on the same requests.

    Attributes:
        before, now: tokens per verify cycle of either.
        error: standard error of now - before; infinite where too few requests say it.
        log_error: the same of log(now / before).
        requests: with cycles under both.
    """

    before: float
    now: float
    error: float
    log_error: float
    requests: int

    def proved(self, least: float, alpha: float) -> bool:
        """Whether the gain is more than ``least``, reported wrongly with a probability of at most ``alpha``."""
        if not math.isfinite(self.error):
            return False
        return tail((self.now - self.before - least) / self.error, self.requests - 1) <= alpha


def spent(alpha: float, evaluation: int) -> float:
    """The part of ``alpha`` that an evaluation has, counted from 1."""
    return alpha / (evaluation * (evaluation + 1))


def paired(before: Accepted, now: Accepted) -> Gain:
    """Compare two drafts' cycles on the same requests, in the same order."""
    both = [(one, other) for one, other in zip(before.per_request, now.per_request, strict=True) if one[1] and other[1]]
    n = len(both)
    if n < FEWEST:
        return Gain(before.length, now.length, math.inf, math.inf, n)
    old, new = ([pair[side] for pair in both] for side in (0, 1))
    lengths = [sum(t for t, _ in found) / sum(v for _, v in found) for found in (old, new)]
    means = [sum(v for _, v in found) / n for found in (old, new)]

    def error(scales: tuple[float, float]) -> float:
        parts = [
            [scale * (t - length * v) / mean for t, v in found]
            for scale, length, mean, found in zip(scales, lengths, means, (old, new), strict=True)
        ]
        squares = sum((after - first) ** 2 for first, after in zip(*parts, strict=True))
        of_cycle = [scale * length / mean for scale, length, mean in zip(scales, lengths, means, strict=True)]
        return math.sqrt(max(squares / (n - 1), _ROUNDING * sum(one**2 for one in of_cycle)) / n)

    return Gain(lengths[0], lengths[1], error((1.0, 1.0)), error((1 / lengths[0], 1 / lengths[1])), n)


def tail(t: float, freedom: int) -> float:
    """P(T > t) of Student's t with an integer number of degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    if t < 0:
        return 1.0 - tail(-t, freedom)
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(1, freedom // 2 + 1):
        total += term
        term *= cosine**2 * (2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
    inside = (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total
    return max(0.0, (1.0 - inside) / 2)
