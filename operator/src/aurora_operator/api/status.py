"""The status: observations only, and the one place where the pointers stable and candidate live."""

from typing import Literal

from aurora_core.config.strata import MOST_NAMED
from pydantic import AwareDatetime, Field, field_validator

from aurora_operator.api.status_fields import Alpha, Count, Digest, Part, Steps, Text, Version

HISTORY = 10
"""Verdicts that are kept."""
MOST_CUT = 20
"""Blocks of a trial that suspicions may cut short."""


class Condition(Part):
    """One observation, as Kubernetes' API conventions have it."""

    type: Text
    """What it is about, such as Available."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition is true."""
    reason: Text
    """Why, as one CamelCase identifier."""
    message: Text = ""
    """Why, in a sentence."""
    last_transition_time: AwareDatetime
    """When status last changed."""
    observed_generation: int = 0
    """Generation of the spec that it was observed for."""


class Stable(Part):
    """The version that serves."""

    version: Version
    """Draft version."""
    digest: Digest | None = None
    """Digest of its manifest: numbers repeat on a volume that was emptied or restored, digests do not."""
    steps: Steps
    """Draft steps of a cycle; 0 while no draft has earned its place (day-0)."""
    since: AwareDatetime
    """When it became stable."""
    accept_length: float | None = None
    """Tokens per verify cycle that it is held to: of its trial, or of its first requests."""
    accept_variance: float | None = None
    """Variance of that value's logarithm."""
    accept_confirmed: bool = False
    """Whether traffic after the promotion confirmed it, or a person promoted: then it stays."""
    accept_since: AwareDatetime | None = None
    """Since when accept length is measured for it; none: since it became stable."""
    checked: AwareDatetime | None = None
    """When speculation was last compared with none."""
    recheck_after: AwareDatetime | None = None
    """Before it no such comparison begins, so that all of them cost at most 1 % of throughput; none: not yet known."""
    previous: Version | None = None
    """The stable version before, for a rollback."""
    previous_steps: Steps | None = None
    """Its draft steps."""
    guard_references: dict[Text, float] = Field(default_factory=dict, max_length=16)
    """What guards that compare with stable measured of the version before, when this one was promoted."""
    breaches: dict[Text, int] = Field(default_factory=dict, max_length=16)
    """Guards that are breached on probation, and at how many analyses in a row."""


class StratumEstimate(Part):
    """Candidate over stable in one stratum."""

    name: Text
    """Of the stratum."""
    blocks: int = 0
    """Blocks of two time slices in which its requests ran under both arms."""
    estimate: float | None = None
    """Candidate over stable, mean over these blocks."""
    lower: float | None = None
    """Lower end of its interval: a promotion needs it above 1 - maxRegression."""
    upper: float | None = None
    """Upper end: the candidate is rejected where it is below that."""
    speed_ratio: float | None = None
    """Decode speed over stable's."""


class Candidate(Part):
    """What is on trial."""

    version: Version
    """Draft version."""
    digest: Digest | None = None
    """Digest of its manifest."""
    steps: Steps
    """Draft steps of a cycle that it is tried with; 0 is target-only."""
    kind: Literal["NewVersion", "TargetOnly", "Again", "Previous", "Best"] = "NewVersion"
    """Why it is on trial: trained lately; speculation against none; switched off before; before stable; best so far."""
    since: AwareDatetime
    """When its trial began."""
    slice_seconds: Count | None = Field(None, ge=1)
    """Length of its time slices, chosen when it began; none: gate.sliceSeconds."""
    analyses: int = 0
    """How many analyses the trial had."""
    blocks: int = 0
    """Blocks of two time slices that count as evidence."""
    void_blocks: int = 0
    """Blocks that do not, because an arm did not serve when it should, or no scrape separated the slices."""
    progress: float | None = None
    """From 0 to 1: how far the evidence has come towards a proof of better or of worse."""
    metric: Literal["AcceptLength", "DecodeSpeed"] = "AcceptLength"
    """What is compared: tokens per verify cycle, or tokens per second where stable does not speculate."""
    requests: int = 0
    """Finished requests under it."""
    value: float | None = None
    """The metric, of the candidate."""
    variance: float | None = None
    """Variance of its logarithm."""
    stable_value: float | None = None
    """The metric, of stable, at the same time."""
    speed_ratio: float | None = None
    """Decode speed over stable's, of the blocks that count."""
    first_token_ratio: float | None = None
    """Time to first token over stable's, of the same blocks."""
    breaches: dict[Text, int] = Field(default_factory=dict, max_length=16)
    """Guards that are breached, and at how many analyses in a row."""
    cut: list[Count] = Field(default_factory=list, max_length=MOST_CUT)
    """Blocks that a suspicion cut short, moving their traffic back to stable; they count as lost."""
    resumes: Count | None = None
    """Block from which on arms are dealt again after the last suspicion; none without one."""
    strata: list[StratumEstimate] = Field(default_factory=list, max_length=MOST_NAMED + 1)
    """The same in each stratum."""
    ratio_of_sums: float | None = None
    """Candidate's value over stable's, without pairing: what all traffic together got."""
    estimate: float | None = None
    """Candidate over stable, mean over blocks."""
    lower: float | None = None
    """Lower end of the interval of the estimate, valid at every analysis."""
    upper: float | None = None
    """Its upper end."""
    alpha: Alpha | None = None
    """Highest probability that this trial promotes a draft that is not better: its part of the budget."""
    verdict: Text = "Waiting"
    """Waiting, or why it waits."""
    holdout_accept_length: float | None = None
    """Simulated accept length on held-out requests, by the trainer."""


class Serving(Part):
    """The engine pods."""

    replicas: int = 0
    """Pods desired."""
    ready: int = 0
    """Pods ready."""
    versions: list[int] = Field(default_factory=list)
    """Versions that are live in some pod."""
    dtypes: list[Text] = Field(default_factory=list)
    """Types that the engines compute in."""
    selector: Text = ""
    """Label selector of the engine pods, for the scale subresource."""


class Training(Part):
    """The trainer."""

    step: int = 0
    """Optimizer steps."""
    tokens: int = 0
    """Tokens trained on."""
    loss: float | None = None
    """Forward KL per row."""
    samples: int = 0
    """Samples in the pool."""
    lost: Count = 0
    """Samples that engines had and could not hand over since the trainer started; its log and metrics say why."""
    last_published: Count | None = None
    """Newest version on the volume."""
    withheld: Count = 0
    """Evaluations since then whose gain on held-out requests was within noise."""
    precision: Text | None = None
    """Type of the trainer's forward and backward pass."""
    ranks: Count = 1
    """Processes that should train the draft together."""
    ready: Count = 0
    """Those of them whose pods are ready."""


class Anchor(Part):
    """The best version so far, where that may not be stable."""

    version: Version
    """Draft version."""
    digest: Digest | None = None
    """Digest of its manifest."""
    steps: Steps
    """Its draft steps."""
    estimate: float = 0.0
    """Log of stable over it: estimates of the promotions since, added up."""
    lower: float = 0.0
    """The same of the lower ends of their intervals, or as their own comparison measured it."""
    doubted: bool = False
    """Whether a version was not promoted because of it, so that it challenges stable next."""
    compared: bool = False
    """Whether it challenged this stable version already."""


class Forecast(Part):
    """What a trial can prove at the traffic of now, of this one or of the next."""

    metric: Literal["AcceptLength", "DecodeSpeed"] = "AcceptLength"
    """What it compares."""
    requests_per_minute: float = 0.0
    """Finished requests of both arms together."""
    spread: float = 0.0
    """Standard deviation of a block's difference, as a logarithm."""
    seconds_per_block: float = 0.0
    """Between two blocks that count."""
    worthwhile_seconds: float | None = None
    """Until an improvement of minWorthwhile over minImprovement is proved; none where never."""
    smallest: float | None = None
    """Smallest improvement over minImprovement, of 1, 2, 5, 10, 20 and 50 %, that is proved within
    maxDurationSeconds; none: not even the largest, and no trial begins."""


class Budget(Part):
    """What is left of the probability of false promotions."""

    left: Alpha
    """What is left of it."""
    since: AwareDatetime
    """When; it grows from then on."""


class Entry(Part):
    """A verdict of the past, with the numbers behind it."""

    time: AwareDatetime
    """When."""
    version: Version
    """Draft version."""
    verdict: Text
    """Promoted, Rejected, Superseded, Paused, RolledBack, StableKept, SpeculationOff, -Kept, -On or -StaysOff."""
    reason: Text
    """Why, in a sentence."""
    estimate: float | None = None
    """Candidate over stable."""
    lower: float | None = None
    """Lower end of its interval."""
    upper: float | None = None
    """Upper end."""
    requests: int = 0
    """Finished requests of the candidate."""


class Status(Part):
    """The observed state."""

    observed_generation: int = 0
    """Generation of the spec that was last acted upon."""
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """Observations: Ready, Available, StorageReady, TrainingHealthy, PromotionProgressing, Speculating, Degraded; and
    RayReady in mode Online, RouteReady with a route."""
    stable: Stable | None = None
    """The version that serves."""
    candidate: Candidate | None = None
    """The version on trial."""
    serving: Serving = Serving()
    """The engine pods."""
    training: Training = Training()
    """The trainer."""
    decided: Version = 0
    """Newest version whose trial has ended; neither it nor an older one is tried again."""
    budget: Budget | None = None
    """For false promotions; full before the first trial."""
    challenged: AwareDatetime | None = None
    """When the version before last challenged stable in vain: for 30 days a fall begins no other such trial."""
    forecast: Forecast | None = None
    """How long trials take."""
    anchor: Anchor | None = None
    """The best version so far; none where it is stable."""
    history: list[Entry] = Field(default_factory=list, max_length=HISTORY)
    """The last ten verdicts, newest first."""

    @field_validator("candidate", mode="before")
    @classmethod
    def _readable(cls, candidate: object) -> object:
        """A trial that an operator without ``steps`` began is incomplete: it begins again, and nothing was decided."""
        return None if isinstance(candidate, dict) and "steps" not in candidate else candidate
