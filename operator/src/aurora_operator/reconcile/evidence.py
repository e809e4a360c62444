"""What Prometheus tells of both sides, as evidence; whatever it does not tell is a problem in words."""

from contextlib import closing
from datetime import datetime

from aurora_operator.api.fields import SecretKey
from aurora_operator.api.promotion import PrometheusSpec
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.clients.cluster import Cluster, decoded
from aurora_operator.clients.prometheus import Credentials, Prometheus
from aurora_operator.errors import ClusterError, PrometheusError
from aurora_operator.promotion.assignment import candidate_slice, slice_index, strategy, trial_key
from aurora_operator.promotion.challenge import Watch
from aurora_operator.promotion.counters import NAMES, Arm, Counters, Metric
from aurora_operator.promotion.gate import Evidence, GuardResult
from aurora_operator.promotion.measure import by_engine_slice, by_slice, whole
from aurora_operator.promotion.trial import Found, first_stable, on_probation
from aurora_operator.render.identity import Resource

LOOKBACK_SECONDS = 600.0
"""What stable did lately; and how old the scrape before a trial may be."""
OVERLAP_SECONDS = 120.0
"""Read again at every look: what a Prometheus behind others shows late."""


def _prometheus(cluster: Cluster, namespace: str, spec: PrometheusSpec) -> Prometheus:
    def value(at: SecretKey | None) -> str:
        if at is None:
            return ""
        found = decoded(cluster.get("v1", "Secret", namespace, at.name), at.key)
        if not found:
            raise PrometheusError(f"secret {at.name} has no key {at.key}: promotion.prometheus names it")
        return found

    def pair(name: str | None, first: str, second: str) -> tuple[str, str] | None:
        if name is None:
            return None
        return value(SecretKey(name=name, key=first)), value(SecretKey(name=name, key=second))

    return Prometheus(
        spec.url,
        Credentials(
            token=value(spec.bearer_token_secret),
            basic=pair(spec.basic_auth_secret, "username", "password"),
            authority=value(spec.ca_secret),
            certificate=pair(spec.client_certificate_secret, "tls.crt", "tls.key"),
        ),
    )


def _selector(resource: Resource, *metrics: Metric) -> str:
    names = "|".join(name for metric in metrics for name in NAMES[metric])
    return f'{{__name__=~"{names}",speculator="{resource.full_name}"}}'


class Ledger:
    """What a trial's counters told so far.

    Nothing but a shortcut: the next look reads only what is new, and an operator that starts reads all of it again.

    Attributes:
        candidate, stable: their counters.
        seen: whether there were any of this resource, of whatever version.
    """

    def __init__(self, key: str, resource: Resource, stable: Stable, candidate: Candidate) -> None:
        self.key = key
        self._since = candidate.since.timestamp()
        self._length = resource.spec.promotion.gate.slice_seconds
        self._selector = _selector(resource, candidate.metric)
        self._until = self._since - LOOKBACK_SECONDS
        new = candidate.kind == "NewVersion"
        mine, other = Arm(candidate.version, candidate.steps), Arm(stable.version, stable.steps)
        self.seen = False
        self.candidate = Counters(candidate.metric, mine, self._since, born=new, index=self.index)
        self.stable = Counters(candidate.metric, other, self._since, born=False, index=self.index)

    def index(self, time: float) -> int:
        """The time slice of a time, in seconds since the epoch."""
        return slice_index(time - self._since, self._length)

    def read(self, prometheus: Prometheus, until: float) -> None:
        """Take in what is new."""
        start = max(self._until - OVERLAP_SECONDS, self._since - LOOKBACK_SECONDS)
        for piece in prometheus.pieces(self._selector, start, until):
            self.seen = self.seen or bool(piece)
            self.candidate.add(piece)
            self.stable.add(piece)
        self._until = until


Ledgers = dict[str, Ledger]
"""By the resource's namespace and name."""


def _evidence(
    prometheus: Prometheus,
    resource: Resource,
    stable: Stable,
    candidate: Candidate,
    now: datetime,
    ledgers: Ledgers,
) -> Evidence:
    trial = trial_key(resource.uid, candidate)
    key = f"{trial}/{candidate.steps}/{stable.version}/{stable.steps}/{resource.spec.promotion.gate.slice_seconds}"
    name = resource.full_name
    ledger = ledgers.get(name)
    if ledger is None or ledger.key != key:
        ledger = ledgers[name] = Ledger(key, resource, stable, candidate)
    ledger.read(prometheus, now.timestamp())
    if not ledger.seen:
        return Evidence(problem="Prometheus has no counters of this resource: does it scrape the engine pods' agents?")
    closed = ledger.index(now.timestamp())
    top, bottom = whole(ledger.candidate.slices, closed), whole(ledger.stable.slices, closed)
    if strategy(resource.spec) == "Switchback":
        sums = (
            by_slice(top, lambda i: candidate_slice(trial, i)),
            by_slice(bottom, lambda i: not candidate_slice(trial, i)),
        )
    else:
        sums = by_engine_slice(top, bottom), by_engine_slice(bottom, top)
    return Evidence(*sums, int(ledger.candidate.requests().n), int(ledger.stable.requests().n))


def _guards(
    prometheus: Prometheus, resource: Resource, judged: int, stable: int | None, now: datetime
) -> tuple[GuardResult, ...]:
    """What the guards say of a version, beside stable where there is one to compare with."""
    out = []
    for guard in resource.spec.promotion.guards:

        def ask(version: int, query: str = guard.query) -> float | None:
            filled = query.replace("$version", str(version))
            filled = filled.replace("$speculator", resource.full_name)
            return prometheus.number(filled, now.timestamp())

        value = ask(judged)
        ratio = guard.max_ratio_to_stable if stable is not None else None
        other = ask(stable) if ratio is not None and stable is not None else None
        if value is None or (ratio is not None and not other):
            out.append(GuardResult(guard.name, None, "the query gives no number"))
            continue
        share = None if ratio is None or other is None else ratio * other
        checks = (
            (f"{value:.4g} is above {guard.max}", guard.max is not None and value > guard.max),
            (f"{value:.4g} is below {guard.min}", guard.min is not None and value < guard.min),
            (f"{value:.4g} is above {share}, stable's share", share is not None and value > share),
        )
        broken = [message for message, breaks in checks if breaks]
        out.append(GuardResult(guard.name, bool(broken), broken[0] if broken else "fine"))
    return tuple(out)


def _watch(prometheus: Prometheus, resource: Resource, stable: Stable, now: datetime) -> Watch:
    """What stable does lately, never counting what was before it became stable."""
    until = now.timestamp()
    since = max(stable.since.timestamp(), until - LOOKBACK_SECONDS)
    arm = Arm(stable.version, stable.steps)
    accepted, decoded = (Counters(metric, arm, since, born=False) for metric in NAMES)
    for piece in prometheus.pieces(_selector(resource, *NAMES), since, until):
        accepted.add(piece)
        decoded.add(piece)
    return Watch(accepted.requests(), int(decoded.requests().n))


def measure(cluster: Cluster, resource: Resource, status: Status, now: datetime, ledgers: Ledgers) -> Found:
    """Everything that promotion wants to know of Prometheus now."""
    spec, candidate = resource.spec, status.candidate
    if candidate is None:
        ledgers.pop(resource.full_name, None)
    stable = status.stable or first_stable(spec, now)
    if spec.suspend or (spec.promotion.prometheus is None and strategy(spec) in {"Immediate", "Manual"}):
        return Found()
    if spec.promotion.prometheus is None:
        return Found(evidence=Evidence(problem="promotion.prometheus is not set"))
    try:
        with closing(_prometheus(cluster, resource.namespace, spec.promotion.prometheus)) as prometheus:
            probation: tuple[GuardResult, ...] = ()
            if on_probation(spec, stable, now):
                probation = _guards(prometheus, resource, stable.version, None, now)
            if candidate is None:
                return Found(watch=_watch(prometheus, resource, stable, now), stable_guards=probation)
            return Found(
                evidence=_evidence(prometheus, resource, stable, candidate, now, ledgers),
                guards=_guards(prometheus, resource, candidate.version, stable.version, now),
                stable_guards=probation,
            )
    except (PrometheusError, ClusterError) as error:
        return Found(evidence=Evidence(problem=str(error)))
