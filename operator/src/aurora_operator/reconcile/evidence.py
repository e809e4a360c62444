"""What Prometheus knows of both arms, as evidence; whatever it does not know is a problem with a message."""

import os
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

from aurora_operator.api.fields import SecretKey
from aurora_operator.api.promotion import PrometheusSpec
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.clients import secrets
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.prometheus import Credentials, Prometheus
from aurora_operator.clients.proxies import proxy_for
from aurora_operator.clients.secrets import Form
from aurora_operator.errors import ClusterError, PrometheusError, SecretValueError
from aurora_operator.promotion.assignment import candidate_slice, dealing, slice_length, trial_key
from aurora_operator.promotion.blocks import MEASURES, Dealt, crossover, measured, switchback
from aurora_operator.promotion.challenge import metric
from aurora_operator.promotion.counters import Arm, Counters
from aurora_operator.promotion.gate import Evidence, GuardResult
from aurora_operator.promotion.steady import watched
from aurora_operator.promotion.strata import stratified
from aurora_operator.promotion.trial import Found, first_stable, on_probation
from aurora_operator.promotion.watch import Watch
from aurora_operator.reconcile.ledger import Ledger, Ledgers, StableLedger, named
from aurora_operator.render.identity import Resource

WATCHED_SECONDS, WATCHED_SLICES, MOST_WATCHED_SECONDS = 6 * 3600.0, 100, 7 * 86400.0
"""How far back stable is watched: so long, or so many time slices where that is longer, and never longer than the
third; at most twice as far until what was read is dropped."""


def _prometheus(cluster: Cluster, namespace: str, spec: PrometheusSpec, trusted: Collection[str]) -> Prometheus:
    def read(name: str, *desired: tuple[str, Form]) -> tuple[str, ...]:
        secret = cluster.get("v1", "Secret", namespace, name)
        try:
            secrets.check_consent(secret, name, spec.url, trusted)
            return tuple(secrets.value(secret, name, key, form) for key, form in desired)
        except SecretValueError as error:
            raise PrometheusError(f"{error}; promotion.prometheus names it") from error

    def one(at: SecretKey | None, form: Form) -> str:
        return "" if at is None else read(at.name, (at.key, form))[0]

    def pair(name: str | None, first: str, second: str, form: Form) -> tuple[str, str] | None:
        if name is None:
            return None
        left, right = read(name, (first, form), (second, form))
        return left, right

    return Prometheus(
        spec.url,
        Credentials(
            token=one(spec.bearer_token_secret, "header"),
            basic=pair(spec.basic_auth_secret, "username", "password", "basic"),
            authority=one(spec.ca_secret, "pem"),
            certificate=pair(spec.client_certificate_secret, "tls.crt", "tls.key", "pem"),
            tenant=spec.tenant or "",
        ),
        proxy_for(spec.url, os.environ),
    )


def _evidence(
    prometheus: Prometheus,
    resource: Resource,
    stable: Stable,
    candidate: Candidate,
    now: datetime,
    ledgers: Ledgers,
    engines: Collection[str],
) -> Evidence:
    trial = trial_key(resource.uid, candidate)
    strata = resource.spec.promotion.strata
    kinds = ",".join(named(strata))
    length = slice_length(resource.spec, candidate)
    key = f"{trial}/{candidate.steps}/{stable.version}/{stable.steps}/{length}/{kinds}"
    name = resource.full_name
    ledger = ledgers.get(name)
    if not isinstance(ledger, Ledger) or ledger.key != key:
        ledger = ledgers[name] = Ledger(key, resource, stable, candidate)
    ledger.read(prometheus, now.timestamp(), engines)
    problem = ledger.origin.problem(resource)
    if problem:
        return Evidence(problem=problem)
    refused = ledger.refused
    if refused:
        return Evidence(
            problem=f"{refused} scrapes have counters that are negative, infinite or no number: something other than "
            "the agents writes them, or an engine is broken"
        )

    def dealt_of(mine: Counters, other: Counters) -> Dealt:
        if dealing(resource.spec) == "Switchback":
            return switchback(mine, other, lambda at: candidate_slice(trial, at), ledger.closed, candidate.cut)
        return crossover(mine, other, ledger.closed, candidate.cut)

    dealt = dealt_of(ledger.candidate, ledger.stable)
    deciding, speed, failures, first_token = (
        measured(dealt, MEASURES[name]) for name in (candidate.metric, "DecodeSpeed", "Failures", "FirstToken")
    )
    found = Evidence(deciding, speed, failures, first_token, ledger.candidate.requests(), ledger.stable.requests())
    if strata is None or candidate.kind != "NewVersion":
        return found
    by_stratum = {name: dealt_of(*pair) for name, pair in ledger.strata.items()}
    worked = {name for name, pair in ledger.strata.items() if any(one.worked for one in pair)}
    parts = stratified(strata, candidate.metric, by_stratum, worked, deciding, speed)
    return replace(found, trial=parts.trial, speed=parts.speed, strata=parts.strata)


def _guards(
    prometheus: Prometheus,
    resource: Resource,
    subject: Arm,
    stable: Arm | None,
    now: datetime,
    engines: Collection[str],
    references: Mapping[str, float] | None = None,
) -> tuple[GuardResult, ...]:
    """What the guards say of a version.

    Args:
        prometheus: to query.
        resource: whose guards.
        subject: the version.
        stable: what to compare with; None on probation, where ``references`` has what stable was measured with before.
        now: the time of the queries.
        engines: names of the resource's own engine pods.
        references: by guard.
    """
    filled = {
        "$speculator": resource.full_name,
        "$namespace": resource.namespace,
        # No pod has a name that begins with a hyphen.
        "$engines": "|".join(sorted(engines)) or "-",
    }
    out = []
    for guard in resource.spec.promotion.guards:

        def query_of(arm: Arm, query: str = guard.query) -> float | None:
            for name, text in (("$version", str(arm.version)), ("$steps", str(arm.steps)), *filled.items()):
                query = query.replace(name, text)
            return prometheus.number(query, now.timestamp())

        value, ratio = query_of(subject), guard.max_ratio_to_stable
        other = (references or {}).get(guard.name) if stable is None else None if ratio is None else query_of(stable)
        # After a promotion that no guard watched there is nothing to compare with.
        compares = ratio is not None and (stable is not None or other is not None)
        # A share of what is negative would be less for more.
        if value is None or (compares and (other is None or other <= 0)):
            out.append(GuardResult(guard.name, None, "the query returned no number"))
            continue
        share = ratio * other if compares and ratio is not None and other is not None else None
        checks = (
            (f"{value:.4g} is above {guard.max}", guard.max is not None and value > guard.max),
            (f"{value:.4g} is below {guard.min}", guard.min is not None and value < guard.min),
            (f"{value:.4g} is above {share}, stable's share", share is not None and value > share),
        )
        broken = [message for message, breaks in checks if breaks]
        out.append(GuardResult(guard.name, bool(broken), broken[0] if broken else "fine", other))
    return tuple(out)


def _watch(
    prometheus: Prometheus,
    resource: Resource,
    status: Status,
    stable: Stable,
    now: datetime,
    ledgers: Ledgers,
    engines: Collection[str],
) -> Watch:
    """What stable does, never counting what was before it became stable or was measured afresh."""
    spec, name = resource.spec, resource.full_name
    length = spec.promotion.gate.slice_seconds
    reach = min(MOST_WATCHED_SECONDS, max(WATCHED_SECONDS, WATCHED_SLICES * length))
    began = max(stable.since, stable.accept_since or stable.since)
    key = f"{resource.uid}/{stable.version}/{stable.steps}/{began.isoformat()}/{length}"
    ledger = ledgers.get(name)
    known = isinstance(ledger, StableLedger) and ledger.key == key
    if not isinstance(ledger, StableLedger) or not known or now.timestamp() - ledger.since > 2 * reach:
        since = max(began, now - timedelta(seconds=reach)).timestamp()
        ledger = ledgers[name] = StableLedger(key, resource, stable, since)
    ledger.read(prometheus, now.timestamp(), engines)
    canaries = spec.promotion.canary.replicas if dealing(spec) == "Canary" else 0
    ended = status.history[0].time.timestamp() if status.history else 0.0
    return watched(ledger.counters, metric(stable, spec.draft.num_steps), length, ended, canaries)


def measure(
    cluster: Cluster,
    resource: Resource,
    status: Status,
    now: datetime,
    ledgers: Ledgers,
    engines: Collection[str],
    *,
    trusted: Collection[str] = (),
) -> Found:
    """Everything that promotion wants to know of Prometheus now.

    Args:
        cluster: has the Secrets.
        resource: whose versions are compared.
        status: which those are.
        now: the time of the queries.
        ledgers: what was read before.
        engines: names of the resource's own engine pods; other series prove nothing.
        trusted: as in :func:`secrets.check_consent`.
    """
    spec, candidate = resource.spec, status.candidate
    stable = status.stable or first_stable(spec, now)
    if spec.suspend or (spec.promotion.prometheus is None and dealing(spec) is None):
        return Found()
    if spec.promotion.prometheus is None:
        return Found(evidence=Evidence(problem="promotion.prometheus is not set"))
    try:
        with closing(_prometheus(cluster, resource.namespace, spec.promotion.prometheus, trusted)) as prometheus:
            probation: tuple[GuardResult, ...] = ()
            if on_probation(spec, stable, now):
                arm = Arm(stable.version, stable.steps)
                probation = _guards(prometheus, resource, arm, None, now, engines, stable.guard_references)
            if candidate is None:
                watch = _watch(prometheus, resource, status, stable, now, ledgers, engines)
                return Found(watch=watch, stable_guards=probation)
            return Found(
                evidence=_evidence(prometheus, resource, stable, candidate, now, ledgers, engines),
                guards=_guards(
                    prometheus,
                    resource,
                    Arm(candidate.version, candidate.steps),
                    Arm(stable.version, stable.steps),
                    now,
                    engines,
                ),
                stable_guards=probation,
            )
    except (PrometheusError, ClusterError) as error:
        return Found(evidence=Evidence(problem=str(error)))
