"""What each dashboard shows."""

from aurora_core.protocol import metrics

from monitoring.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PER_SECOND,
    RED,
    SAMPLES_PER_SECOND,
    TOKENS_PER_SECOND,
    WINDOW,
    Panel,
    Row,
    counted,
    quantile,
    ratio,
)

_ALL, _ONE = '{speculator=~"$speculator"}', '{speculator="$speculator"}'
_DRAFTED = f'{_ONE[:-1]},steps!="0"}}'
_ACCEPT = (metrics.ACCEPT_TOKENS, metrics.ACCEPT_CYCLES)
_SPEED = (metrics.DECODE_TOKENS, metrics.DECODE_SECONDS)
_GOOD_AT_0 = ((None, GREEN), (1, RED))
_TRUE_IS_GOOD = {"1": ("True", GREEN), "0": ("False", RED), "-1": ("Unknown", ORANGE)}
_TRUE_IS_BAD = {"1": ("True", RED), "0": ("False", GREEN), "-1": ("Unknown", ORANGE)}
_NONE = {"-1": ("none", GREY)}
_OFF = {"0": ("off", ORANGE)}


def _condition(kind: str, chosen: str = _ALL) -> str:
    return f'{metrics.CONDITION}{chosen[:-1]},type="{kind}"}}'


def _each(metric: object) -> str:
    return f"max by (speculator) ({metric}{_ALL})"


_MISSING = f"{metrics.REPLICAS_READY}{_ALL} < {metrics.REPLICAS_DESIRED}{_ALL}"
_DEGRADED = f"{_condition('Degraded')} == 1"
_UNAVAILABLE = f"{_condition('Available')} == 0"

FLEET = (
    Panel("Deployments", "SpeculatorDeployments that the operator reconciles. No data: the operator is not scraped.",
          [(f"count({metrics.STABLE_VERSION}{_ALL})", "")], kind="now", columns=6),
    Panel("Unavailable", "Those without a ready engine pod.",
          [(counted(_UNAVAILABLE, metrics.STABLE_VERSION, _ALL), "")],
          kind="now", columns=6, thresholds=_GOOD_AT_0),
    Panel("Degraded", "Those that do not serve as they should: the table has which, the condition Degraded says why.",
          [(counted(_DEGRADED, metrics.STABLE_VERSION, _ALL), "")],
          kind="now", columns=6, thresholds=_GOOD_AT_0),
    Panel("Missing replicas", "Deployments with fewer ready engine pods than serving.replicas.",
          [(counted(_MISSING, metrics.STABLE_VERSION, _ALL), "")],
          kind="now", columns=6, thresholds=((None, GREEN), (1, ORANGE))),
    Panel("Speculating", "Those whose stable version drafts; the rest serve the target alone.",
          [(counted(f"{metrics.STABLE_STEPS}{_ALL} > 0 unless {metrics.SPECULATION_SWITCHED_OFF}{_ALL} == 1",
                    metrics.STABLE_VERSION, _ALL), "")], kind="now", columns=6),
    Panel("On trial", "Those with a candidate that is being compared with stable now.",
          [(counted(f"{metrics.CANDIDATE_VERSION}{_ALL} >= 0", metrics.STABLE_VERSION, _ALL), "")],
          kind="now", columns=6),
    Panel("Deployments, one by one", "A click on a name opens its dashboard. kubectl describe specdep NAME has the "
          "messages of the conditions.",
          [(f"max by (speculator) ({_condition('Available')})", "Available"),
           (f"max by (speculator) ({_condition('Degraded')})", "Degraded"),
           (f"max by (speculator) ({_condition('StorageReady')})", "StorageReady"),
           (f"max by (speculator) ({_condition('TrainingHealthy')})", "TrainingHealthy"),
           (_each(metrics.REPLICAS_READY), "Ready"), (_each(metrics.REPLICAS_DESIRED), "Desired"),
           (_each(metrics.STABLE_VERSION), "Stable"), (_each(metrics.STABLE_STEPS), "Draft steps"),
           (_each(metrics.CANDIDATE_VERSION), "Candidate"),
           (f"time() - {_each(metrics.STABLE_SINCE_SECONDS)}", "Stable for")],
          kind="table", columns=1, column_units={"Stable for": "s"},
          column_values={"Available": _TRUE_IS_GOOD, "Degraded": _TRUE_IS_BAD, "StorageReady": _TRUE_IS_GOOD,
                         "TrainingHealthy": _TRUE_IS_GOOD, "Candidate": _NONE, "Stable": _NONE, "Draft steps": _OFF}),
    Panel("Accept length", "Tokens per verify cycle; 1 is a draft that never helps.",
          [(ratio(*_ACCEPT, _ALL, "speculator"), "{{speculator}}")], unit="none", low=1),
    Panel("Decode speed", "Tokens per second that one request sees, first token aside.",
          [(ratio(*_SPEED, _ALL, "speculator"), "{{speculator}}")], unit=TOKENS_PER_SECOND),
    Panel("Throughput", "Tokens per second of all finished requests together; long answers count when they end.",
          [(f"sum by (speculator) (rate({metrics.DECODE_TOKENS}{_ALL}{WINDOW}))", "{{speculator}}")],
          unit=TOKENS_PER_SECOND),
    Panel("Verdicts of the last hour", "Events of promotion: trials begun, promotions, rejections, rollbacks.",
          [(f"sum by (reason) (increase({metrics.OPERATOR_VERDICTS}{_ALL}[1h]))", "{{reason}}")]),
    Row("Operator"),
    Panel("Reconciles", "Time that one takes: half of them, and 99 of 100.",
          [(quantile(0.5, metrics.OPERATOR_RECONCILE_SECONDS, ""), "50 %"),
           (quantile(0.99, metrics.OPERATOR_RECONCILE_SECONDS, ""), "99 %")], unit="s"),
    Panel("Failures", "Per second, by what failed; each is tried again.",
          [(f"sum by (what) (rate({metrics.OPERATOR_FAILURES}{_ALL}{WINDOW}))", "{{what}}"),
           (f"0 * count({metrics.STABLE_VERSION}{_ALL})", "none")], unit=PER_SECOND),
)  # fmt: skip

DEPLOYMENT = (
    Panel("Ready replicas", "Engine pods that are ready, and serving.replicas.",
          [(f"max({metrics.REPLICAS_READY}{_ONE})", "ready"), (f"max({metrics.REPLICAS_DESIRED}{_ONE})", "desired")],
          kind="now", columns=6),
    Panel("Degraded", "The condition Degraded says why.", [(f"max({_condition('Degraded', _ONE)})", "")],
          kind="now", columns=6, values=_TRUE_IS_BAD),
    Panel("Stable version", "What serves now.", [(f"max({metrics.STABLE_VERSION}{_ONE})", "")],
          kind="now", columns=6, values=_NONE),
    Panel("Draft steps", "Tokens that stable drafts per verify cycle; off is target-only.",
          [(f"max({metrics.STABLE_STEPS}{_ONE})", "")], kind="now", columns=6, values=_OFF),
    Panel("Candidate", "Version on trial.", [(f"max({metrics.CANDIDATE_VERSION}{_ONE})", "")],
          kind="now", columns=6, values=_NONE),
    Panel("Switched off", "Whether a person keeps speculation off, whatever stable drafts.",
          [(f"max({metrics.SPECULATION_SWITCHED_OFF}{_ONE})", "")],
          kind="now", columns=6, values={"0": ("no", GREEN), "1": ("yes", ORANGE)}),
    Row("What users see"),
    Panel("Time to first token", "SGLang's own, of all engines: half of the requests, and 99 of 100.",
          [(quantile(0.5, metrics.FIRST_TOKEN_SECONDS, _ONE), "50 %"),
           (quantile(0.99, metrics.FIRST_TOKEN_SECONDS, _ONE), "99 %")], unit="s", columns=3),
    Panel("Inter-token latency", "SGLang's own, of all engines: half of the tokens, and 99 of 100.",
          [(quantile(0.5, metrics.INTER_TOKEN_SECONDS, _ONE), "50 %"),
           (quantile(0.99, metrics.INTER_TOKEN_SECONDS, _ONE), "99 %")], unit="s", columns=3),
    Panel("Accept length by version", "Both arms of a trial are live at the same time, so they compare here.",
          [(ratio(*_ACCEPT, _DRAFTED, "version, steps"), "version {{version}}, {{steps}} steps")],
          unit="none", low=1, columns=3),
    Panel("Requests", "Running and waiting, of all engines. A queue that stays needs more replicas.",
          [(f"sum({metrics.REQUESTS_RUNNING}{_ONE})", "running"), (f"sum({metrics.REQUESTS_QUEUED}{_ONE})", "queued")],
          columns=3),
    Panel("KV cache in use", "Share of each engine's tokens; near 100 % requests are queued or retracted.",
          [(f"max by (engine) ({metrics.KV_USED}{_ONE})", "{{engine}}")], unit="percentunit", columns=3),
    Panel("Decode speed by version", "Tokens per second that one request sees; 0 steps is target-only.",
          [(ratio(*_SPEED, _ONE, "version, steps"), "version {{version}}, {{steps}} steps")],
          unit=TOKENS_PER_SECOND, columns=3),
    Panel("Requests by end", "Per second: finished, by version; ended by their client; failed by the engine.",
          [(f"sum by (version, steps) (rate({metrics.REQUESTS_FINISHED}{_ONE}{WINDOW}))",
            "version {{version}}, {{steps}} steps"),
           (f"sum(rate({metrics.REQUESTS_ABORTED}{_ONE}{WINDOW}))", "aborted"),
           (f"sum(rate({metrics.REQUESTS_FAILED}{_ONE}{WINDOW}))", "failed")], unit="reqps", columns=3),
    Panel("Throughput by engine", "Tokens per second of finished requests; long answers count when they end.",
          [(f"sum by (engine) (rate({metrics.DECODE_TOKENS}{_ONE}{WINDOW}))", "{{engine}}")],
          unit=TOKENS_PER_SECOND, columns=3),
    Panel("Prefix cache hits", "Share of prompt tokens that a cached prefix had. A swap begins with an empty cache.",
          [(f"max by (engine) ({metrics.PREFIX_HIT_RATE}{_ONE})", "{{engine}}")], unit="percentunit", columns=3),
    Row("Promotion"),
    Panel("Candidate over stable", "The gate's estimate and its interval, valid at every analysis: promoted when the "
          "lower end is above the bar (1 + minImprovement), rejected when the upper end is below. The dashed line is "
          "1. No course: no candidate.",
          [(f"max by (bound) ({metrics.GATE_ESTIMATE}{_ONE})", "{{bound}}"),
           (f"max({metrics.GATE_RATIO_OF_SUMS}{_ONE})", "all traffic together"),
           (f"max({metrics.GATE_SPEED_RATIO}{_ONE})", "decode speed"),
           (f"max({metrics.GATE_BAR}{_ONE})", "bar")], unit="none", low=None, line=1),
    Panel("Candidate over stable, by stratum", "The same in each stratum of promotion.strata. No course: no candidate, "
          "or no strata.",
          [(f"max by (stratum, bound) ({metrics.GATE_STRATUM_ESTIMATE}{_ONE})", "{{stratum}} {{bound}}"),
           (f"max({metrics.GATE_BAR}{_ONE})", "bar")],
          unit="none", low=None, line=1),
    Panel("Live version by engine", "Which draft version each engine has; two of them during a trial or a rollout.",
          [(f"max by (engine) ({metrics.DRAFT_LIVE_VERSION}{_ONE})", "{{engine}}")], unit="none", low=None, columns=4),
    Panel("Swaps", "Versions activated and refused.",
          [(f"sum(increase({metrics.DRAFT_SWAPS}{_ONE}{WINDOW}))", "activated"),
           (f"sum(increase({metrics.DRAFT_SWAP_FAILURES}{_ONE}{WINDOW}))", "refused")], columns=4),
    Panel("Swap stall", "How long decoding waited for one swap.",
          [(ratio(metrics.DRAFT_SWAP_SECONDS, metrics.DRAFT_SWAPS, _ONE, "speculator"), "per swap")],
          unit="s", columns=4),
    Panel("Engines that answer", "Engines that answer their agent; one that is not scraped is not counted.",
          [(f"sum({metrics.ENGINE_UP}{_ONE})", "answer"), (f"max({metrics.REPLICAS_DESIRED}{_ONE})", "desired")],
          columns=4),
    Row("Capture and volume"),
    Panel("Captured samples", "Requests that did not become samples, by reason, are below zero.",
          [(f"sum(rate({metrics.CAPTURE_SAMPLES}{_ONE}{WINDOW}))", "sent"),
           (f"-sum by (reason) (rate({metrics.CAPTURE_DROPPED}{_ONE}{WINDOW}))", "{{reason}}")],
          unit=SAMPLES_PER_SECOND, low=None),
    Panel("Pace of capture", "Share of samples.sampleRate that is left while samples are not taken as fast; 0 while "
          "nobody takes them, which TrainingHealthy explains.",
          [(f"min by (engine) ({metrics.CAPTURE_SHARE}{_ONE})", "{{engine}}")], unit="percentunit"),
    Panel("Captured bytes", "On their way to the trainer.",
          [(f"sum(rate({metrics.CAPTURE_BYTES}{_ONE}{WINDOW}))", "sent")], unit="Bps"),
    Panel("Volume", "Share of the claim's bytes that is free, as each engine sees it.",
          [(f"{metrics.VOLUME_FREE_BYTES}{_ONE} / ({metrics.VOLUME_BYTES}{_ONE} > 0)", "{{engine}}")],
          unit="percentunit"),
    Panel("Exceptions in the plugin", "By hook. No request fails of them; samples or counts may miss.",
          [(f"sum by (hook) (rate({metrics.HOOK_ERRORS}{_ONE}{WINDOW}))", "{{hook}}"),
           (f"0 * sum({metrics.ENGINE_UP}{_ONE})", "none")], unit=PER_SECOND),
)  # fmt: skip

_UNROLLED = metrics.unrolled("accuracy", 0).name.removesuffix("0")
TRAINING = (
    Panel("Healthy", "The condition TrainingHealthy says why not.",
          [(f"max({_condition('TrainingHealthy', _ONE)})", "")], kind="now", columns=4, values=_TRUE_IS_GOOD),
    Panel("Ranks", "Processes that train the draft together: those whose pods are ready, and all.",
          [(f"max({metrics.RANKS_READY}{_ONE})", "ready"), (f"max({metrics.RANKS_DESIRED}{_ONE})", "desired")],
          kind="now", columns=4),
    Panel("Queue", "Whether a queue keeps the trainer waiting.", [(f"max({metrics.TRAINING_QUEUED}{_ONE})", "")],
          kind="now", columns=4, values={"1": ("waits", ORANGE), "0": ("no", GREEN)}),
    Panel("Step", "Optimizer steps.", [(f"max({metrics.TRAIN_STEP}{_ONE})", "")], kind="now", columns=4),
    Panel("Samples in the pool", "What training draws from.", [(f"max({metrics.POOL_TRAINING}{_ONE})", "")],
          kind="now", columns=4),
    Panel("Holdout", "Samples that are never trained on.", [(f"max({metrics.POOL_HELDOUT}{_ONE})", "")],
          kind="now", columns=4),
    Panel("Backlog", "Samples that wait to be taken in.", [(f"max({metrics.POOL_BACKLOG}{_ONE})", "")],
          kind="now", columns=4),
    Panel("Vocabulary coverage", "Share of held-out generated tokens that the draft's vocabulary contains.",
          [(f"max({metrics.EVAL_VOCABULARY_COVERAGE}{_ONE})", "")], unit="percentunit", kind="now", columns=4,
          thresholds=((None, ORANGE), (0.9, BLUE))),
    Panel("Loss", "Forward KL against the target's distribution, mean over unrolled steps.",
          [(f"{metrics.TRAIN_LOSS}{_ONE}", "loss")], unit="none"),
    Panel("Held-out accept length", "Simulated on requests that training never saw, against the last published "
          "version's.", [(f"{metrics.EVAL_ACCEPT_LENGTH}{_ONE}", "now"),
                         (f"{metrics.EVAL_LIVE_ACCEPT_LENGTH}{_ONE}", "last published")], unit="none", low=1),
    Panel("Accuracy by unrolled step", "Share of the target's own tokens that the draft names first.",
          [((f'label_replace({{__name__=~"{_UNROLLED}[0-9]+",speculator="$speculator"}}, "unrolled", "$1", "__name__", '
            f'"{_UNROLLED}(.*)")'), "step {{unrolled}}")], unit="percentunit"),
    Panel("Gradient norm and learning rate", "Norm before clipping; a jump precedes a divergence.",
          [(f"{metrics.TRAIN_GRAD_NORM}{_ONE}", "gradient norm"), (f"{metrics.TRAIN_LR}{_ONE}", "learning rate")],
          unit="none"),
    Panel("Where a step's time goes", "Getting data, computing, and waiting for samples.",
          [(f"{metrics.PERF_DATA_TIME}{_ONE}", "data"), (f"{metrics.PERF_COMPUTE_TIME}{_ONE}", "compute"),
           (f"{metrics.PERF_DISPATCH_WAIT}{_ONE}", "wait")], unit="s"),
    Panel("Capacities", "What training could take, and what serving delivers. The smaller one is the bottleneck.",
          [(f"{metrics.PERF_TRAIN_CAPACITY}{_ONE}", "training"), (f"{metrics.PERF_INFER_CAPACITY}{_ONE}", "serving")],
          unit=SAMPLES_PER_SECOND),
    Panel("Samples", "Taken in, evicted from the full pool, and refused by reason; and what failed and was skipped. "
          "The trainer's log has the message.",
          [(f"rate({metrics.TRAIN_SAMPLES_RECEIVED}{_ONE}{WINDOW})", "taken in"),
           (f"rate({metrics.TRAIN_SAMPLES_EVICTED}{_ONE}{WINDOW})", "evicted"),
           (f"rate({metrics.TRAIN_SAMPLES_REJECTED}{_ONE}{WINDOW})", "refused: {{reason}}"),
           (f"rate({metrics.TRAIN_SAMPLES_LOST}{_ONE}{WINDOW})", "lost on the way: {{reason}}"),
           (f"rate({metrics.TRAIN_FAILURES}{_ONE}{WINDOW})", "failed: {{what}}")], unit=SAMPLES_PER_SECOND),
    Panel("Lag from capture to training", "From the end of a request to the first step that its sample is trained on.",
          [(quantile(0.5, metrics.TRAIN_LAG_SECONDS, _ONE), "50 %"),
           (quantile(0.95, metrics.TRAIN_LAG_SECONDS, _ONE), "95 %")], unit="s"),
    Panel("Tokens trained on", "Per second.", [(f"rate({metrics.TRAIN_TOKENS}{_ONE}{WINDOW})", "tokens")],
          unit=TOKENS_PER_SECOND),
)  # fmt: skip
