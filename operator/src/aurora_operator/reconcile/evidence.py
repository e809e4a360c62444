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
from aurora_operator.promotion.gate import Evidence, GuardResult
from aurora_operator.promotion.measure import NAMES, Arm, Metric, Series, arm_increments, by_request, by_slice
from aurora_operator.promotion.trial import Found, first_stable, on_probation
from aurora_operator.render.identity import Resource

LOOKBACK_SECONDS = 600.0


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


def _series(
    prometheus: Prometheus, resource: Resource, names: tuple[str, ...], span: tuple[float, float]
) -> list[Series]:
    selector = f'{{__name__=~"{"|".join(names)}",speculator="{resource.namespace}/{resource.name}"}}'
    return prometheus.raw(selector, *span)


def _evidence(
    prometheus: Prometheus, resource: Resource, stable: Stable, candidate: Candidate, now: datetime
) -> Evidence:
    since, until = candidate.since.timestamp(), now.timestamp()
    series = _series(prometheus, resource, NAMES[candidate.metric], (since - LOOKBACK_SECONDS, until))
    if not series:
        return Evidence(problem="Prometheus has no counters of this resource: does it scrape the engine pods' agents?")
    mine = Arm(candidate.version, candidate.steps)
    top = arm_increments(series, candidate.metric, mine, since, born=candidate.kind == "NewVersion")
    bottom = arm_increments(series, candidate.metric, Arm(stable.version, stable.steps), since, born=False)
    requests = (by_request(top), by_request(bottom))
    if strategy(resource.spec) != "Switchback":
        return Evidence(*requests, int(requests[0].n), int(requests[1].n))
    length, trial = resource.spec.promotion.gate.slice_seconds, trial_key(resource.uid, candidate)

    def index(time: float) -> int:
        return slice_index(time - since, length)

    # The slice that runs now is not whole yet, and its requests are still to end.
    closed = index(until)
    top, bottom = ([one for one in found if index(one[0]) < closed] for found in (top, bottom))
    return Evidence(
        by_slice(top, index, lambda i: candidate_slice(trial, i)),
        by_slice(bottom, index, lambda i: not candidate_slice(trial, i)),
        int(requests[0].n),
        int(requests[1].n),
        sliced=True,
    )


def _guards(
    prometheus: Prometheus, resource: Resource, judged: int, stable: int | None, now: datetime
) -> tuple[GuardResult, ...]:
    """What the guards say of a version, beside stable where there is one to compare with."""
    out = []
    for guard in resource.spec.promotion.guards:

        def ask(version: int, query: str = guard.query) -> float | None:
            filled = query.replace("$version", str(version))
            filled = filled.replace("$speculator", f"{resource.namespace}/{resource.name}")
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
    names = (*NAMES["AcceptLength"], *NAMES["DecodeSpeed"])
    series = _series(prometheus, resource, names, (since, until))

    def lately(metric: Metric) -> list[tuple[float, tuple[float, ...]]]:
        return arm_increments(series, metric, Arm(stable.version, stable.steps), since, born=False)

    return Watch(by_request(lately("AcceptLength")), int(by_request(lately("DecodeSpeed")).n))


def measure(cluster: Cluster, resource: Resource, status: Status, now: datetime) -> Found:
    """Everything that promotion wants to know of Prometheus now."""
    spec, candidate = resource.spec, status.candidate
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
                evidence=_evidence(prometheus, resource, stable, candidate, now),
                guards=_guards(prometheus, resource, candidate.version, stable.version, now),
                stable_guards=probation,
            )
    except (PrometheusError, ClusterError) as error:
        return Found(evidence=Evidence(problem=str(error)))
