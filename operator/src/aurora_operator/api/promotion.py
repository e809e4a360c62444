"""How a candidate becomes stable: the part of the spec that is about evidence."""

from typing import Annotated, Literal

from aurora_core.config.base import Config
from aurora_core.config.effect import Effect
from aurora_core.config.strata import MOST_NAMED, StrataConfig, StratumConfig
from pydantic import Field

from aurora_operator.api.fields import Name, SecretKey, rules

_URL = r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$"
"""Of a server's name or address, of IPv6 in brackets."""


class PrometheusSpec(Config):
    """Where accept length and decode speed are measured."""

    model_config = rules(
        (
            "!(has(self.bearerTokenSecret) && has(self.basicAuthSecret))",
            "promotion.prometheus shows one of bearerTokenSecret and basicAuthSecret: remove the other",
        ),
        (
            "self.url.startsWith('https://') || !(has(self.caSecret) || has(self.clientCertificateSecret))",
            "promotion.prometheus has certificates, but url is not https",
        ),
    )

    url: str = Field(max_length=500, pattern=_URL)
    """Base URL of a Prometheus-compatible API."""
    tenant: str | None = Field(None, min_length=1, max_length=150, pattern=r"^[A-Za-z0-9!._*'()|-]+$")
    """Tenant of a server that several share (Mimir, Cortex), as header X-Scope-OrgID; a|b asks for two."""
    bearer_token_secret: SecretKey | None = None
    """Bearer token to show."""
    ca_secret: SecretKey | None = None
    """Certificate authority of an https URL, PEM."""
    basic_auth_secret: Name | None = None
    """Secret with username and password (type kubernetes.io/basic-auth)."""
    client_certificate_secret: Name | None = None
    """Secret with tls.crt and tls.key to show to an https URL (type kubernetes.io/tls)."""


class Gate(Config):
    """When a candidate is good enough, and how long it may take to show it."""

    confidence: float = Field(0.95, ge=0.8, le=0.9999)
    """1 - the highest probability that one trial promotes a draft that is not better, for any traffic."""
    false_promotions_per_week: float = Field(0.35, gt=0, le=10_000)
    """Budget for promotions that are not better, over all trials together; a trial takes half of what is left of it."""
    min_improvement: float = Field(0.0, ge=-0.5, le=10)
    """How much better a candidate must be, as a share: 0.05 is 5 %. Below 0 it allows that much worse."""
    min_worthwhile: float = Field(0.02, ge=0, le=10)
    """A candidate that is proved to be better by less than this share is rejected: the next version has its turn."""
    min_requests: int = Field(20, ge=2, le=1_000_000)
    """Finished requests of each arm before any verdict."""
    slice_seconds: int = Field(60, ge=5, le=86400)
    """Length of a time slice, several scrapes long; two are a block, in which a coin deals candidate and stable."""
    max_slice_seconds: int = Field(600, ge=5, le=86400)
    """A trial has longer slices, up to this, where stable's traffic says that minWorthwhile takes them to be proved."""
    interval_seconds: int = Field(15, ge=2, le=3600)
    """Seconds between two analyses."""
    max_duration_seconds: int = Field(86400, ge=60, le=31_536_000)
    """After so long without a verdict, onInconclusive decides."""
    max_slowdown: float = Field(0.1, ge=0.01, le=0.9)
    """A candidate is rejected where it is proved to decode slower than stable by more than this share."""
    max_first_token_increase: float = Field(0.25, ge=0.01, le=100)
    """The same where users are proved to wait longer for the first token, by more than this share."""
    max_failure_increase: float = Field(0.02, ge=0.001, le=0.9)
    """The same where more requests end without an answer, by more than this share of all."""
    max_below_best: float = Field(0.03, ge=0.001, le=0.9)
    """Where versions may be worse (minImprovement below 0, onInconclusive: Promote), one that may be further below the
    best so far, over all promotions since, is not promoted; the best one challenges stable first."""
    on_inconclusive: Literal["KeepStable", "Promote"] = "KeepStable"
    """What happens then: stable is kept, or the candidate promoted."""


class Guard(Config):
    """A PromQL query that a candidate must not break."""

    model_config = rules(
        (
            "has(self.max) || has(self.min) || has(self.maxRatioToStable)",
            "a guard needs a limit: max, min, or maxRatioToStable",
        ),
        (
            "!has(self.maxRatioToStable) || self.query.contains('$version')",
            "a guard with maxRatioToStable is evaluated for candidate and stable: its query must contain $version",
        ),
    )

    name: str = Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9 ]*[A-Za-z0-9])?$")
    """What it guards."""
    query: str = Field(min_length=1, max_length=2000)
    """PromQL with one number as result. Filled in: $version, $steps (0: speculation off), $speculator, $namespace, and
    $engines, a regular expression of its engine pods' names. Select by the last two what other pods cannot forge."""
    max: float | None = None
    """Breached above this."""
    min: float | None = None
    """Breached below this."""
    max_ratio_to_stable: float | None = Field(None, gt=0)
    """Breached where the candidate's value is more than this times stable's; on probation, than this times what stable
    had before the promotion."""
    for_analyses: int = Field(3, ge=1, le=1000)
    """Analyses in a row at which it must be breached before it counts."""
    dry_run: bool = False
    """Only report breaches, in status and Events."""


class OtherStratum(Config):
    """All requests that belong to no named stratum."""

    weight: float = Field(1.0, ge=0, le=1000)
    """Its weight in the mean that the gate decides by, beside the others' weights; fixed, whatever its traffic."""
    max_regression: float = Field(0.05, ge=0.005, le=0.9)
    """Largest share by which a candidate may be worse in it: more is refused, though the mean gains."""


class Stratum(StratumConfig, OtherStratum):
    """A kind of requests that must not be worse off behind the mean."""


class Strata(StrataConfig):
    """Kinds of requests that the gate watches one by one: at most seven, and what remains is one more, other."""

    model_config = rules(
        (
            "self.by == 'Adapter' ? !has(self.header) && !has(self.salt) : has(self.header)",
            "promotion.strata by Header or HeaderHash needs header; by Adapter it has neither header nor salt",
        ),
        (
            "self.by == 'HeaderHash' ? has(self.salt) : !has(self.salt)",
            "promotion.strata.salt belongs to by: HeaderHash, which needs it",
        ),
        (
            "self.by != 'HeaderHash' || self.named.all(s, s.values.all(v, v.matches('^[0-9a-f]{64}$')))",
            "promotion.strata by HeaderHash has SHA-256 sums of salt and value as values, in 64 hexadecimal digits",
        ),
        (
            "self.by != 'Header' || !has(self.header) || !(self.header in ['authorization', 'x-api-key', 'cookie'])",
            "promotion.strata.header carries credentials: use by: HeaderHash, so that no key is in this resource",
        ),
        (
            "self.named.all(s, s.name != 'other')",
            "other is the stratum of what belongs to no named one: promotion.strata.other",
        ),
        (
            "self.named.all(s, self.named.exists_one(t, t.name == s.name))",
            "promotion.strata.named has a name twice",
        ),
        (
            "self.named.exists(s, s.weight > 0.0) || self.other.weight > 0.0",
            "promotion.strata has no weight above 0: the mean would be of nothing",
        ),
    )

    named: Annotated[tuple[Stratum, ...], Effect.ENGINES] = Field(min_length=1, max_length=MOST_NAMED)
    """The named strata; a change of weight or maxRegression alone restarts nothing."""
    other: OtherStratum = OtherStratum()
    """Requests of no named stratum."""


class Route(Config):
    """An existing route of the namespace that deals requests to Services NAME-stable and NAME-canary."""

    kind: Literal["HTTPRoute", "VirtualService"] = "HTTPRoute"
    """HTTPRoute of the Gateway API (gateway.networking.k8s.io/v1), VirtualService of Istio (networking.istio.io/v1)."""
    name: Name
    """Its name; of it the operator changes the two weights, and nothing else."""
    rule: str | None = Field(None, min_length=1, max_length=253)
    """Name of the one rule to deal by; by default every rule whose backends are these two Services and no others."""
    weight: int | None = Field(None, ge=1, le=99)
    """Percent of requests for the canary pods in a trial, half of which meet the candidate; by default their share of
    all pods."""


class Canary(Config):
    """How many pods run the candidate."""

    replicas: int = Field(1, ge=1, le=1000)
    """Pods that run the candidate at a time, at most half of all; as many others take over in every second slice."""
    route: Route | None = None
    """Deal requests by an existing route instead of connections by the Service. Setting it for the first time, and
    removing it, restarts the engines, one by one."""


class PromotionSpec(Config):
    """How a candidate becomes stable."""

    model_config = rules(
        (
            "self.strategy in ['Immediate', 'Manual'] || has(self.prometheus)",
            "promotion.strategy needs promotion.prometheus.url; without Prometheus use Manual, or Immediate in a lab",
        ),
        (
            "!has(self.canary.route) || self.strategy == 'Canary'",
            "promotion.canary.route deals requests to canary pods: set promotion.strategy to Canary, or remove it",
        ),
    )

    strategy: Literal["Auto", "Canary", "Switchback", "Immediate", "Manual"] = "Auto"
    """Auto: Canary with two or more replicas, else Switchback. Immediate: no proof, for the lab. Manual: measured
    as by Auto where prometheus is set, but only a person promotes."""
    prometheus: PrometheusSpec | None = None
    """Where the proof comes from."""
    gate: Gate = Gate()
    """What counts as proof."""
    canary: Canary = Canary()
    """How many pods, and how requests reach them."""
    strata: Strata | None = None
    """Kinds of requests of which none may lose more than a stated share; none where it is left out."""
    guards: list[Guard] = Field(default_factory=list, max_length=16)
    """What must not get worse."""
    probation_seconds: int = Field(900, ge=0, le=604_800)
    """For so long after a promotion a breached guard undoes it at once."""
    recheck_seconds: int = Field(3600, ge=0, le=604_800)
    """Seconds until speculation proves itself against none, and is tried again while it is off; twice as many after
    each time that changed nothing, up to a day. 0: never."""
