"""Every metric: name, type, labels and help text. Nothing else spells a metric's name.

``f"{ENGINE_UP}"`` is the name of the series in PromQL. :data:`ALL` lists them.
"""

from dataclasses import dataclass
from typing import Literal

SPECULATOR = "speculator"
"""Label: namespace/name of the SpeculatorDeployment."""
ENGINE = "engine"
"""Label: name of the engine's pod."""
VERSION, STEPS = "version", "steps"
"""Labels of an arm: its draft version, and the steps that it drafts."""
STRATUM = "stratum"
"""Label: a kind of requests, of the few that promotion.strata names."""

_ARM = (VERSION, STEPS)
_OF = (SPECULATOR,)


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: without the suffix that its type adds to series.
        kind: Prometheus' type.
        text: help text.
        labels: but for those of the process that exports it.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Names of its series."""
        suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_count", "_sum", "_bucket")}[self.kind]
        return tuple(self.name + suffix for suffix in suffixes)

    def __str__(self) -> str:
        return self.series[0]


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"aurora_{name}", "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"aurora_{name}", "gauge", text, labels)


# --- engine and plugin, exported by the agent; those of an arm are fields of ``engine.ArmCounters`` ------------------

REQUESTS_FINISHED = _counter("requests_finished", "Requests that ended with an answer", *_ARM)
REQUESTS_ABORTED = _counter("requests_aborted", "Requests that their client ended", *_ARM)
REQUESTS_FAILED = _counter("requests_failed", "Requests that the engine ended with an error", *_ARM)
ACCEPT_TOKENS = _counter("accept_tokens", "Tokens emitted in verify cycles, counted at each cycle", *_ARM)
ACCEPT_CYCLES = _counter("accept_cycles", "Verify cycles of requests", *_ARM)
DECODE_TOKENS = _counter("decode_tokens", "Tokens emitted after a request's first cycle, counted at each cycle", *_ARM)
DECODE_SECONDS = _counter("decode_seconds", "Seconds that those tokens took, summed over requests", *_ARM)
FIRST_TOKENS = _counter("first_tokens", "Requests whose first token came, counted at their first cycle", *_ARM)
FIRST_SECONDS = _counter("first_seconds", "Seconds from those requests' arrival to their first token", *_ARM)

STRATUM_ACCEPT_TOKENS = _counter("stratum_accept_tokens", "Accept tokens of a stratum's requests", *_ARM, STRATUM)
STRATUM_ACCEPT_CYCLES = _counter("stratum_accept_cycles", "Verify cycles of a stratum's requests", *_ARM, STRATUM)
STRATUM_DECODE_TOKENS = _counter("stratum_decode_tokens", "Decode tokens of a stratum's requests", *_ARM, STRATUM)
STRATUM_DECODE_SECONDS = _counter("stratum_decode_seconds", "Seconds that those tokens took", *_ARM, STRATUM)

CAPTURE_SAMPLES = _counter("capture_samples", "Samples sent")
CAPTURE_BYTES = _counter("capture_bytes", "Bytes of samples sent")
CAPTURE_DROPPED = _counter("capture_dropped", "Requests that did not become samples", "reason")
CAPTURE_CUT = _counter("capture_cut", "Samples without the beginning of a prompt that others had cached uncaptured")
CAPTURE_SKIPPED_PASSES = _counter("capture_skipped_passes", "Forward passes not captured", "reason")
CAPTURE_QUEUE = _gauge("capture_queue", "Samples waiting to be sent")
CAPTURE_RATE = _gauge("capture_rate", "Share of requests captured")
CAPTURE_SHARE = _gauge("capture_share", "Share of that rate left while samples are not taken as fast, 0 while paused")
CAPTURE_PAUSES = _counter("capture_pauses", "Times that capture paused because nobody took samples")
DRAFT_LIVE_VERSION = _gauge("draft_live_version", "Version of the live draft")
DRAFT_STEPS = _gauge("draft_steps", "Draft steps of a cycle, 0 when speculation is off")
DRAFT_SWAPS = _counter("draft_swaps", "Versions made live")
DRAFT_SWAP_FAILURES = _counter("draft_swap_failures", "Versions refused")
DRAFT_SWAP_SECONDS = _counter("draft_swap_seconds", "Seconds decoding waited")
HOOK_ERRORS = _counter("hook_errors", "Exceptions of the plugin, swallowed", "hook")
ENGINE_UP = _gauge("engine_up", "1 if the engine reported its state")
VOLUME_FREE_BYTES = _gauge("volume_free_bytes", "Bytes that the volume has left, 0 where it does not answer")
VOLUME_BYTES = _gauge("volume_bytes", "Bytes of the volume, 0 where it does not answer")

# --- SGLang's own, of which the agent passes on these; its access control keeps the rest from Prometheus ------------


def _sglang(name: str, kind: Literal["gauge", "histogram"], text: str) -> Metric:
    return Metric(f"sglang:{name}", kind, text)


FIRST_TOKEN_SECONDS = _sglang("time_to_first_token_seconds", "histogram", "Time to first token")
INTER_TOKEN_SECONDS = _sglang("inter_token_latency_seconds", "histogram", "Time between two tokens of a request")
REQUEST_SECONDS = _sglang("e2e_request_latency_seconds", "histogram", "Time from a request to the end of its answer")
REQUESTS_RUNNING = _sglang("num_running_reqs", "gauge", "Requests that run")
REQUESTS_QUEUED = _sglang("num_queue_reqs", "gauge", "Requests that wait")
KV_USED = _sglang("token_usage", "gauge", "Share of the KV cache that is in use")
PREFIX_HIT_RATE = _sglang("cache_hit_rate", "gauge", "Share of prompt tokens that a cached prefix had")
SGLANG = (
    FIRST_TOKEN_SECONDS,
    INTER_TOKEN_SECONDS,
    REQUEST_SECONDS,
    REQUESTS_RUNNING,
    REQUESTS_QUEUED,
    KV_USED,
    PREFIX_HIT_RATE,
)

# --- trainer; ``tracked`` gives the name that Weights & Biases shows ------------------------------------------------

TRAIN_STEP = _gauge("train_step", "Optimizer steps taken")
TRAIN_TOKENS = _gauge("train_tokens", "Tokens trained on")
TRAIN_LOSS = _gauge("train_loss", "Forward KL per row, mean over unrolled steps")
TRAIN_LR = _gauge("train_lr", "Learning rate")
TRAIN_GRAD_NORM = _gauge("train_grad_norm", "Gradient norm before clipping")
TRAIN_RANKS = _gauge("train_ranks", "Processes that train the draft together")
EVAL_ACCEPT_LENGTH = _gauge("eval_accept_length", "Simulated accept length on held-out requests")
EVAL_LIVE_ACCEPT_LENGTH = _gauge("eval_live_accept_length", "The same, of the last published version")
EVAL_VOCABULARY_COVERAGE = _gauge(
    "eval_vocabulary_coverage", "Share of held-out generated tokens that the draft's vocabulary contains"
)
PERF_STEP_TIME = _gauge("perf_step_time", "Seconds of a training step, data included")
PERF_DATA_TIME = _gauge("perf_data_time", "Seconds of it spent on getting data")
PERF_COMPUTE_TIME = _gauge("perf_compute_time", "Seconds of it spent in forward, backward and optimizer")
PERF_TRAIN_CAPACITY = _gauge("perf_train_capacity", "Samples per second if data were always there")
PERF_INFER_CAPACITY = _gauge("perf_infer_capacity", "Samples per second that serving delivered while it was sending")
PERF_INFER_BATCH_TIME = _gauge("perf_infer_batch_time", "Mean seconds between two samples from serving")
PERF_DISPATCH_WAIT = _gauge("perf_dispatch_wait", "Seconds that training waited for samples since the last step")
POOL_TRAINING = _gauge("pool_training", "Samples to train on")
POOL_HELDOUT = _gauge("pool_heldout", "Held-out samples")
POOL_BACKLOG = _gauge("pool_backlog", "Samples waiting to be taken in")
TRAIN_SAMPLES_RECEIVED = _counter("train_samples_received", "Samples taken in")
TRAIN_SAMPLES_EVICTED = _counter("train_samples_evicted", "Samples that left the full pool")
TRAIN_SAMPLES_REJECTED = _counter("train_samples_rejected", "Samples refused", "reason")
TRAIN_SAMPLES_LOST = _counter("train_samples_lost", "Samples that an engine had and could not hand over", "reason")
TRAIN_LAG_SECONDS = Metric(
    "aurora_train_lag_seconds", "histogram", "From a sample's capture to the first step that it is trained on"
)
TRAIN_WITHHELD = _counter("train_withheld", "Evaluations whose gain is within noise: nothing published")
TRAIN_FAILURES = _counter("train_failures", "Things that failed and were passed over", "what")


def unrolled(kind: Literal["loss", "accuracy"], step: int) -> Metric:
    """A gauge of one unrolled step."""
    return _gauge(f"train_{kind}_{step}", f"{kind} of unrolled step {step}, of tttLength")


def tracked(metric: Metric) -> str:
    """Its name in Weights & Biases, in Aurora's spelling.

    >>> tracked(TRAIN_GRAD_NORM)
    'train/grad_norm'
    """
    return metric.name.removeprefix("aurora_").replace("_", "/", 1)


# --- operator -------------------------------------------------------------------------------------------------------

OPERATOR_WRITES = _counter("operator_writes", "Writes to the API server", "kind")
OPERATOR_REQUESTS = _counter("operator_requests", "Requests to the API server", "verb", "kind")
OPERATOR_WATCH_FAILURES = _counter("operator_watch_failures", "Watches that broke and are tried again", "kind")
OPERATOR_REACTION_SECONDS = Metric(
    "aurora_operator_reaction_seconds", "histogram", "From an event to the end of the reconcile that takes it in"
)
OPERATOR_CONTESTED = _gauge("operator_contested", "1 where another installation acts too", *_OF)
OPERATOR_CONTESTED_OBJECTS = _gauge(
    "operator_contested_objects", "Objects of the resource that another client sets again and again", *_OF
)
OPERATOR_LOADS = _counter("operator_loads", "Versions made live through an agent", *_OF)
OPERATOR_FAILURES = _counter("operator_failures", "What failed and is tried again", *_OF, "what")
OPERATOR_VERDICTS = _counter("operator_verdicts", "Events of promotion", *_OF, "reason")
OPERATOR_RECONCILE_SECONDS = Metric("aurora_operator_reconcile_seconds", "histogram", "Duration of a reconcile")
GATE_ESTIMATE = _gauge("gate_estimate", "Candidate over stable, and its interval", *_OF, "bound")
GATE_STRATUM_ESTIMATE = _gauge("gate_stratum_estimate", "The same in each stratum", *_OF, STRATUM, "bound")
GATE_RATIO_OF_SUMS = _gauge("gate_ratio_of_sums", "The same of all traffic together, without pairing or weights", *_OF)
GATE_SPEED_RATIO = _gauge("gate_speed_ratio", "Candidate's decode speed over stable's", *_OF)
GATE_BAR = _gauge("gate_bar", "What the lower end must be above for a promotion, NaN without a candidate", *_OF)
GATE_BLIND = _gauge("gate_blind", "1 while a candidate is on trial and nothing can be measured", *_OF)
CONDITION = _gauge("condition", "1 where the condition is True, 0 False, -1 Unknown", *_OF, "type")
STABLE_VERSION = _gauge("stable_version", "Version that is stable", *_OF)
STABLE_STEPS = _gauge("stable_steps", "Draft steps of stable, 0 without speculation", *_OF)
STABLE_SINCE_SECONDS = _gauge("stable_since_seconds", "When stable became stable, since the epoch", *_OF)
CANDIDATE_VERSION = _gauge("candidate_version", "Version on trial, -1 without one", *_OF)
CANDIDATE_SINCE_SECONDS = _gauge("candidate_since_seconds", "When the trial began, NaN without one", *_OF)
REPLICAS_DESIRED = _gauge("replicas_desired", "Engine pods that the spec asks for", *_OF)
REPLICAS_READY = _gauge("replicas_ready", "Engine pods that are ready", *_OF)
SPECULATION_SWITCHED_OFF = _gauge("speculation_switched_off", "1 where a person keeps speculation off", *_OF)
SUSPENDED = _gauge("suspended", "1 where spec.suspend is true", *_OF)
TRAINING_QUEUED = _gauge("training_queued", "1 while a queue keeps the trainer waiting", *_OF)
RANKS_DESIRED = _gauge("ranks_desired", "Processes that should train the draft together", *_OF)
RANKS_READY = _gauge("ranks_ready", "Those of them whose pods are ready", *_OF)

ALL: tuple[Metric, ...] = tuple(found for found in list(globals().values()) if isinstance(found, Metric))
