"""Which pods a route's two Services select during a trial, and what share of the requests each of them gets.

The canary pods are the two sets of a Canary that take turns, all others serve stable alone. The share belongs to the
pods and never to an arm: it is the same in both slices of a block, whichever of the canary pods serve the candidate.
So under a draft that changes nothing the coin still decides the sign of a block's difference and nothing else, and the
test stays exact. A share that followed the candidate would leave it with emptier engines, which decode faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aurora_operator.api.spec import Spec
from aurora_operator.promotion.assignment import order, share


@dataclass(frozen=True)
class Member:
    """An engine pod, as far as it matters here.

    Attributes:
        name: of the pod.
        ready: whether it can serve.
        canary: whether it is among the canary pods now.
    """

    name: str
    ready: bool
    canary: bool


def canary_pods(trial: str, pods: Sequence[Member], count: int) -> frozenset[str]:
    """The pods that take turns with the candidate: two sets of ``count``, as far as another ready pod is left.

    Those that are canary pods already stay, as long as they are ready; which others join is drawn for each trial.
    """
    size = max(0, min(2 * count, sum(pod.ready for pod in pods) - 1)) // 2 * 2
    ordered = sorted(pods, key=lambda pod: (not pod.ready, not pod.canary, order(trial, "canary", pod.name)))
    return frozenset(pod.name for pod in ordered[:size])


def shares(spec: Spec, ready: int) -> tuple[int, int]:
    """Percent of requests for stable and for the canary pods, of which so many are ready.

    Fewer than should be get fewer requests, so that none gets more than before.
    """
    if ready == 0:
        return 100, 0
    found = round(200 * share(spec) * min(1.0, ready / (2 * spec.promotion.canary.replicas)))
    found = min(99, max(1, found))
    return 100 - found, found
