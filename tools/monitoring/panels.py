"""Panels as plain data, and what Grafana makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Literal

from aurora_core.protocol.metrics import Metric
from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH = 24
WINDOW = "[$__rate_interval]"
TOKENS_PER_SECOND, SAMPLES_PER_SECOND, PER_SECOND = "suffix: tok/s", "suffix: samples/s", "suffix: /s"
GREEN, ORANGE, RED, GREY, BLUE = "green", "orange", "red", "text", "blue"

_Any = stat.Panel | timeseries.Panel | table.Panel


@dataclass(frozen=True)
class Row:
    """A heading above the panels that follow."""

    title: str


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title, text: what it shows, and how to read it.
        queries: (PromQL, legend); of a table (PromQL, title of its column).
        unit: Grafana's name of the unit.
        kind: a course over time, numbers of now, or a row for each resource.
        columns: panels beside each other in its row.
        thresholds: colours from a value on; None is below all others.
        values: what is shown in the place of a number, and its colour.
        column_values: the same, by the column of a table.
        column_units: units of columns of a table.
        low: where the axis begins.
        line: where a dashed line is drawn.
    """

    title: str
    text: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: Literal["course", "now", "table"] = "course"
    columns: int = 2
    thresholds: Sequence[tuple[float | None, str]] = ()
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    column_values: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    column_units: Mapping[str, str] = field(default_factory=dict)
    low: float | None = 0
    line: float | None = None


def ratio(top: Metric, bottom: Metric, chosen: str, by: str) -> str:
    """PromQL of one counter per another."""
    return f"sum by ({by}) (rate({top}{chosen}{WINDOW})) / sum by ({by}) (rate({bottom}{chosen}{WINDOW}))"


def quantile(share: float, histogram: Metric, chosen: str) -> str:
    """PromQL of a quantile of a histogram."""
    bucket = next(name for name in histogram.series if name.endswith("_bucket"))
    return f"histogram_quantile({share}, sum by (le) (rate({bucket}{chosen}{WINDOW})))"


def counted(condition: str, of: Metric, chosen: str) -> str:
    """PromQL of how many resources meet a condition: 0 where none does, and nothing where none is known.

    Without the second half a number would stay empty at 0; with ``or vector(0)`` it would read 0 where
    the operator is not scraped at all.
    """
    return f"count({condition}) or 0 * count({of}{chosen})"


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    made = [Threshold(value, color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _mapped(values: Mapping[str, tuple[str, str]]) -> ValueMap:
    items = enumerate(values.items())
    return ValueMap({value: ValueMappingResult(text, color, index=i) for i, (value, (text, color)) in items})


def _now(panel: Panel) -> stat.Panel:
    newest = common.ReduceDataOptions().calcs(["lastNotNull"])
    made = stat.Panel().graph_mode(BigValueGraphMode.NONE).reduce_options(newest).no_value("no data").height(4)
    coloured = BigValueColorMode.VALUE if panel.thresholds or panel.values else BigValueColorMode.NONE
    return made.color_mode(coloured).thresholds(_thresholds(panel.thresholds or [(None, GREY)]))


def _course(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM)
    made = timeseries.Panel().legend(legend.display_mode(LegendDisplayMode.LIST)).height(8)
    made = made.line_width(2).fill_opacity(0).show_points(VisibilityMode.NEVER)
    made = made.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if panel.low is not None:
        made = made.min(panel.low)
    if panel.line is not None:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        made = made.thresholds(_thresholds([(None, "transparent"), (panel.line, GREY)])).thresholds_style(style)
    return made


def _table(panel: Panel) -> table.Panel:
    made = table.Panel().height(10).no_value("-")
    titles = {f"Value #{letter}": title for letter, (_, title) in zip(ascii_uppercase, panel.queries, strict=False)}
    order = {"speculator": 0, **{value: i + 1 for i, value in enumerate(titles)}}
    made = made.with_transformation(DataTransformerConfig("merge", options={}))
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": titles}
    made = made.with_transformation(DataTransformerConfig("organize", options=options))
    for title, values in panel.column_values.items():
        cell = DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
        made = made.override_by_name(title, [DynamicConfigValue("mappings", [_mapped(values).to_json()]), cell])
    for title, unit in panel.column_units.items():
        made = made.override_by_name(title, [DynamicConfigValue("unit", unit)])
    to = "/d/aurora-deployment?var-speculator=${__value.raw}&var-datasource=${datasource}&${__url_time_range}"
    return made.override_by_name("speculator", [DynamicConfigValue("links", [{"title": "deployment", "url": to}])])


def built(panel: Panel) -> _Any:
    """As Grafana's library builds it."""
    made: _Any
    match panel.kind:
        case "now":
            made = _now(panel)
        case "table":
            made = _table(panel)
        case "course":
            made = _course(panel)
    made = made.title(panel.title).description(panel.text).datasource(SOURCE).unit(panel.unit)
    made = made.span(_WIDTH // panel.columns)
    if panel.values:
        made = made.mappings([_mapped(panel.values)])
    for letter, (query, name) in zip(ascii_uppercase, panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query).datasource(SOURCE).legend_format(name).ref_id(letter)
        if panel.kind != "course":
            target = target.instant()
        made = made.with_target(target.format(PromQueryFormat.TABLE) if panel.kind == "table" else target)
    return made


def links() -> dashboard.DashboardLink:
    """To the other dashboards, with what is chosen and the time."""
    made = dashboard.DashboardLink("Aurora").type(DashboardLinkType.DASHBOARDS).tags(["aurora"])
    return made.include_vars(True).keep_time(True).as_dropdown(False)
