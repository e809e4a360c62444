"""The Grafana dashboards: fleet, one deployment, training."""

from collections.abc import Sequence

from aurora_core.protocol import metrics
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import VariableRefresh

from monitoring.contents import DEPLOYMENT, FLEET, TRAINING
from monitoring.panels import SOURCE, Panel, Row, built, links


def _verdicts() -> dashboard.AnnotationQuery:
    """Marks where a verdict fell."""
    query = f'sum by (reason) (increase({metrics.OPERATOR_VERDICTS}{{speculator=~"$speculator"}}[1m])) > 0'
    made = dashboard.AnnotationQuery().name("Verdicts").datasource(SOURCE).expr(query)
    return made.enable(True).icon_color("purple")


def _dashboard(uid: str, title: str, panels: Sequence[Panel | Row], *, many: bool) -> str:
    speculator = (
        dashboard.QueryVariable("speculator")
        .label("SpeculatorDeployment")
        .datasource(SOURCE)
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
        .link(links())
        .annotation(_verdicts())
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
        .with_variable(speculator)
    )
    for panel in panels:
        made = made.with_row(dashboard.Row(panel.title)) if isinstance(panel, Row) else made.with_panel(built(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def dashboards() -> dict[str, str]:
    """File name and JSON of each."""
    return {
        "fleet.json": _dashboard("aurora-fleet", "Aurora: fleet", FLEET, many=True),
        "deployment.json": _dashboard("aurora-deployment", "Aurora: one deployment", DEPLOYMENT, many=False),
        "training.json": _dashboard("aurora-training", "Aurora: training", TRAINING, many=False),
    }
