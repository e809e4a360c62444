"""What was read of a trial's or of stable's counters so far: a shortcut, because evidence lives in Prometheus."""

from collections.abc import Collection

from aurora_core.config.strata import OTHER
from aurora_core.protocol.metrics import SPECULATOR, STEPS, VERSION

from aurora_operator.api.promotion import Strata
from aurora_operator.api.status import Candidate, Stable
from aurora_operator.clients.prometheus import Prometheus
from aurora_operator.promotion.assignment import slice_length
from aurora_operator.promotion.counters import NAMES, STRATUM_NAMES, Arm, Counters
from aurora_operator.reconcile.origin import Origin, believed
from aurora_operator.render.identity import Resource

LOOKBACK_SECONDS = 600.0
"""How old the scrape before a trial may be."""
OVERLAP_SECONDS = 120.0
"""Read again at every analysis: a Prometheus that collects from others may have these samples late."""


def named(strata: Strata | None) -> tuple[str, ...]:
    """Names of all strata."""
    return () if strata is None else (*(one.name for one in strata.named), OTHER)


def _selector(resource: Resource, arm: Arm | None = None) -> str:
    only = "" if arm is None else f',{VERSION}="{arm.version}",{STEPS}="{arm.steps}"'
    read = (*NAMES, *(STRATUM_NAMES if arm is None and resource.spec.promotion.strata is not None else ()))
    names = f'__name__=~"{"|".join(read)}"'
    return f'{{{names},{SPECULATOR}="{resource.full_name}",namespace="{resource.namespace}"{only}}}'


class Ledger:
    """What a trial's counters reported so far.

    Nothing but a shortcut: the next analysis reads only what is new, and an operator that starts reads all of it again.

    Attributes:
        candidate, stable: their counters.
        strata: both arms' counters of each stratum.
        origin: which counters there were at all.
    """

    def __init__(self, key: str, resource: Resource, stable: Stable, candidate: Candidate) -> None:
        self.key = key
        self._since = candidate.since.timestamp()
        self._length = slice_length(resource.spec, candidate)
        self._selector = _selector(resource)
        self._until = self._since - LOOKBACK_SECONDS
        new = candidate.kind == "NewVersion"
        mine, other = Arm(candidate.version, candidate.steps), Arm(stable.version, stable.steps)
        self.origin = Origin()
        self.candidate, self.stable = (
            Counters(arm, self._since, from_zero=fresh, length=self._length)
            for arm, fresh in ((mine, new), (other, False))
        )
        self.strata = {
            name: (
                Counters(mine, self._since, from_zero=new, length=self._length, stratum=name),
                Counters(other, self._since, from_zero=False, length=self._length, stratum=name),
            )
            for name in named(resource.spec.promotion.strata)
        }

    def _all(self) -> tuple[Counters, ...]:
        return (self.candidate, self.stable, *(one for pair in self.strata.values() for one in pair))

    @property
    def refused(self) -> int:
        """Scrapes with values that no counter can have."""
        return sum(one.refused for one in self._all())

    @property
    def closed(self) -> int:
        """Time slices that are over and were scraped to their end."""
        return int((max(self.candidate.latest, self.stable.latest) - self._since) // self._length)

    def read(self, prometheus: Prometheus, until: float, engines: Collection[str]) -> None:
        """Take in what is new of these engine pods; what was taken in of one that is gone since still counts."""
        start = max(self._until - OVERLAP_SECONDS, self._since - LOOKBACK_SECONDS)
        for piece in prometheus.pieces(self._selector, start, until):
            own = believed(piece, engines)
            self.origin.add(piece, own)
            for one in self._all():
                one.add(own)
        self._until = until


class StableLedger:
    """What stable's counters reported so far: the same shortcut, while nothing is on trial.

    Attributes:
        since: seconds since the epoch from which on it counts.
        counters: its counters.
    """

    def __init__(self, key: str, resource: Resource, stable: Stable, since: float) -> None:
        self.key, self.since = key, since
        arm = Arm(stable.version, stable.steps)
        length = resource.spec.promotion.gate.slice_seconds
        self.counters = Counters(arm, since, from_zero=False, length=length)
        self._selector = _selector(resource, arm)
        self._until = since

    def read(self, prometheus: Prometheus, until: float, engines: Collection[str]) -> None:
        """Take in what is new of these pods."""
        for piece in prometheus.pieces(self._selector, max(self.since, self._until - OVERLAP_SECONDS), until):
            self.counters.add(believed(piece, engines))
        self._until = until


Ledgers = dict[str, Ledger | StableLedger]
"""By the resource's namespace and name."""
