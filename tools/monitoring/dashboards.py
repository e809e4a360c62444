"""The Grafana dashboards: fleet, one deployment, training."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from aurora_core.protocol import metrics
from aurora_core.protocol.metrics import Metric
from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH = 24


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title, text: what it shows, and how to read it.
        queries: (PromQL, legend).
        unit: Grafana's name of the unit.
        single: a number now, instead of a course over time.
        columns: panels beside each other in its row.
    """

    title: str
    text: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    single: bool = False
    columns: int = 2


def _ratio(top: Metric, bottom: Metric, chosen: str, by: str) -> str:
    window = "[$__rate_interval]"
    return f"sum by ({by}) (rate({top}{chosen}{window})) / sum by ({by}) (rate({bottom}{chosen}{window}))"


_ALL, _ONE = '{speculator=~"$speculator"}', '{speculator="$speculator"}'
_ACCEPT = (metrics.ACCEPT_TOKENS, metrics.ACCEPT_CYCLES)
_SPEED = (metrics.DECODE_TOKENS, metrics.DECODE_SECONDS)

FLEET = (
    Panel("Deployments", "SpeculatorDeployments that the operator reconciles.",
          [(f"count({metrics.STABLE_VERSION}{_ALL})", "")], single=True, columns=4),
    Panel("Speculating", "Those whose stable version drafts; the rest serve the target alone.",
          [(f"count({metrics.STABLE_STEPS}{_ALL} > 0) or vector(0)", "")], single=True, columns=4),
    Panel("On trial", "Those with a candidate that is being compared with stable now.",
          [(f"count({metrics.CANDIDATE_VERSION}{_ALL} >= 0) or vector(0)", "")], single=True, columns=4),
    Panel("Degraded", "Those that do not serve as they should: see the condition Degraded.",
          [(f'count({metrics.CONDITION}{{speculator=~"$speculator",type="Degraded"}} == 1) or vector(0)', "")],
          single=True, columns=4),
    Panel("Accept length", "Tokens that a verify cycle yields; 1 is a draft that never helps.",
          [(_ratio(*_ACCEPT, _ALL, "speculator"), "{{speculator}}")]),
    Panel("Decode speed", "Tokens per second that one request sees, first token aside.",
          [(_ratio(*_SPEED, _ALL, "speculator"), "{{speculator}}")], unit="none"),
    Panel("Throughput", "Tokens per second of all requests together.",
          [(f"sum by (speculator) (rate({metrics.DECODE_TOKENS}{_ALL}[$__rate_interval]))", "{{speculator}}")],
          unit="none"),
    Panel("Verdicts of the last hour", "Events of promotion: trials begun, promotions, rejections, rollbacks.",
          [(f"sum by (reason) (increase({metrics.OPERATOR_VERDICTS}{_ALL}[1h]))", "{{reason}}")]),
)  # fmt: skip

DEPLOYMENT = (
    Panel("Stable version", "What serves now.", [(f"{metrics.STABLE_VERSION}{_ONE}", "")], single=True, columns=4),
    Panel("Draft steps", "Tokens drafted in a cycle; 0 is target-only.", [(f"{metrics.STABLE_STEPS}{_ONE}", "")],
          single=True, columns=4),
    Panel("Candidate", "Version on trial; -1 is none.", [(f"{metrics.CANDIDATE_VERSION}{_ONE}", "")],
          single=True, columns=4),
    Panel("Engines up", "Engines whose agent answers.", [(f"sum({metrics.ENGINE_UP}{_ONE})", "")],
          single=True, columns=4),
    Panel("Accept length by version", "Both sides of a trial are live at the same time, so they compare here.",
          [(_ratio(*_ACCEPT, _ONE, "version, steps"), "version {{version}}, {{steps}} steps")]),
    Panel("Decode speed by version", "Tokens per second that one request sees; 0 steps is target-only.",
          [(_ratio(*_SPEED, _ONE, "version, steps"), "version {{version}}, {{steps}} steps")]),
    Panel("Candidate over stable", "The gate's estimate and its interval, valid at every analysis: promoted when the "
          "lower end is above the bar, rejected when the upper end is below. No line: no candidate.",
          [(f"{metrics.GATE_ESTIMATE}{_ONE}", "{{bound}}")]),
    Panel("Throughput by engine", "Tokens per second of all requests of an engine.",
          [(f"sum by (engine) (rate({metrics.DECODE_TOKENS}{_ONE}[$__rate_interval]))", "{{engine}}")]),
    Panel("Finished requests", "Per second, by version.",
          [(f"sum by (version, steps) (rate({metrics.REQUESTS_FINISHED}{_ONE}[$__rate_interval]))",
            "version {{version}}, {{steps}} steps")], unit="reqps"),
    Panel("Requests without an answer", "Per second, by version: ended by their client, or by an error of the engine.",
          [(f"sum by (version, steps) (rate({metrics.REQUESTS_ABORTED}{_ONE}[$__rate_interval]))",
            "aborted, version {{version}}, {{steps}} steps"),
           (f"sum by (version, steps) (rate({metrics.REQUESTS_FAILED}{_ONE}[$__rate_interval]))",
            "failed, version {{version}}, {{steps}} steps")], unit="reqps"),
    Panel("Swaps", "Drafts made live, refused, and how long decoding waited for them.",
          [(f"sum(increase({metrics.DRAFT_SWAPS}{_ONE}[$__rate_interval]))", "live"),
           (f"sum(increase({metrics.DRAFT_SWAP_FAILURES}{_ONE}[$__rate_interval]))", "refused"),
           (f"sum(increase({metrics.DRAFT_SWAP_SECONDS}{_ONE}[$__rate_interval]))", "seconds waited")]),
    Panel("Captured samples", "A second; requests that did not become samples, by reason, are below zero.",
          [(f"sum(rate({metrics.CAPTURE_SAMPLES}{_ONE}[$__rate_interval]))", "sent"),
           (f"-sum by (reason) (rate({metrics.CAPTURE_DROPPED}{_ONE}[$__rate_interval]))", "{{reason}}")]),
    Panel("Captured bytes", "Bytes per second on their way to the trainer.",
          [(f"sum(rate({metrics.CAPTURE_BYTES}{_ONE}[$__rate_interval]))", "sent")], unit="Bps"),
    Panel("Volume", "Share of the claim's bytes that is free, as each engine sees it.",
          [(f"{metrics.VOLUME_FREE_BYTES}{_ONE} / ({metrics.VOLUME_BYTES}{_ONE} > 0)", "{{engine}}")],
          unit="percentunit"),
    Panel("Exceptions in the plugin", "Per second, by hook. No request fails of them; samples or counts may miss.",
          [(f"sum by (hook) (rate({metrics.HOOK_ERRORS}{_ONE}[$__rate_interval])) or vector(0)", "{{hook}}")]),
)  # fmt: skip

TRAINING = (
    Panel("Step", "Optimizer steps.", [(f"{metrics.TRAIN_STEP}{_ONE}", "")], single=True, columns=4),
    Panel("Samples in the pool", "What training draws from.", [(f"{metrics.POOL_TRAINING}{_ONE}", "")],
          single=True, columns=4),
    Panel("Held out", "Held-out accept length of versions before any traffic sees them.",
          [(f"{metrics.POOL_HELDOUT}{_ONE}", "")], single=True, columns=4),
    Panel("Backlog", "Samples that wait to be taken in.", [(f"{metrics.POOL_BACKLOG}{_ONE}", "")],
          single=True, columns=4),
    Panel("Loss", "Forward KL against the target's distribution, mean over unrolled steps.",
          [(f"{metrics.TRAIN_LOSS}{_ONE}", "loss")]),
    Panel("Held-out accept length", "Simulated on requests that training never saw, against the last published "
          "version's.", [(f"{metrics.EVAL_ACCEPT_LENGTH}{_ONE}", "now"),
                         (f"{metrics.EVAL_LIVE_ACCEPT_LENGTH}{_ONE}", "last published")]),
    Panel("Accuracy by unrolled step", "Share of the target's own tokens that the draft names first.",
          [(f"{metrics.unrolled('accuracy', k)}{_ONE}", f"step {k}") for k in range(3)], unit="percentunit"),
    Panel("Where a step's time goes", "Getting data, computing, and waiting for samples.",
          [(f"{metrics.PERF_DATA_TIME}{_ONE}", "data"), (f"{metrics.PERF_COMPUTE_TIME}{_ONE}", "compute"),
           (f"{metrics.PERF_DISPATCH_WAIT}{_ONE}", "wait")], unit="s"),
    Panel("Capacities", "Samples per second: what training could take, and what serving delivers. The smaller one is "
          "the bottleneck.", [(f"{metrics.PERF_TRAIN_CAPACITY}{_ONE}", "training"),
                              (f"{metrics.PERF_INFER_CAPACITY}{_ONE}", "serving")]),
    Panel("Samples", "Taken in, evicted from the full pool, and refused by reason, a second; and what failed and was "
          "skipped. The trainer's log has the message.",
          [(f"rate({metrics.TRAIN_SAMPLES_RECEIVED}{_ONE}[$__rate_interval])", "taken in"),
           (f"rate({metrics.TRAIN_SAMPLES_EVICTED}{_ONE}[$__rate_interval])", "evicted"),
           (f"rate({metrics.TRAIN_SAMPLES_REJECTED}{_ONE}[$__rate_interval])", "refused: {{reason}}"),
           (f"rate({metrics.TRAIN_FAILURES}{_ONE}[$__rate_interval])", "failed: {{what}}")]),
)  # fmt: skip


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    made: timeseries.Panel | stat.Panel = stat.Panel() if panel.single else timeseries.Panel()
    made = made.title(panel.title).description(panel.text).datasource(_SOURCE).unit(panel.unit)
    made = made.span(_WIDTH // panel.columns).height(4 if panel.single else 8)
    if isinstance(made, stat.Panel):
        newest = common.ReduceDataOptions().calcs(["lastNotNull"])
        made = made.graph_mode(BigValueGraphMode.NONE).reduce_options(newest)
    else:
        legend = (
            common.VizLegendOptions()
            .show_legend(True)
            .placement(LegendPlacement.BOTTOM)
            .display_mode(LegendDisplayMode.LIST)
        )
        made = made.line_width(2).fill_opacity(0).show_points(VisibilityMode.NEVER).legend(legend)
    for letter, (query, name) in zip(ascii_uppercase, panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query).datasource(_SOURCE).legend_format(name).ref_id(letter)
        made = made.with_target(target.instant() if panel.single else target)
    return made


def _dashboard(uid: str, title: str, panels: Sequence[Panel], *, many: bool) -> str:
    speculator = (
        dashboard.QueryVariable("speculator")
        .label("SpeculatorDeployment")
        .datasource(_SOURCE)
        .query(f"label_values({metrics.STABLE_VERSION}, {metrics.SPECULATOR})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(many)
        .multi(many)
    )
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["aurora"])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
        .with_variable(speculator)
    )
    for panel in panels:
        made = made.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def dashboards() -> dict[str, str]:
    """File name and JSON of each."""
    return {
        "fleet.json": _dashboard("aurora-fleet", "Aurora: fleet", FLEET, many=True),
        "deployment.json": _dashboard("aurora-deployment", "Aurora: one deployment", DEPLOYMENT, many=False),
        "training.json": _dashboard("aurora-training", "Aurora: training", TRAINING, many=False),
    }
