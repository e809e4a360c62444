"""Alerts lead to their pages, and dashboards to what they show."""

import json
import re
from pathlib import Path

import pytest
import yaml
from aurora_core.protocol import metrics
from aurora_operator.promotion import outcome

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "aurora-operator"
PAGES = ROOT / "docs" / "runbooks"
GROUPS = yaml.safe_load((CHART / "rules" / "aurora.yaml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_a_page_that_says_what_to_do(name):
    assert ALERTS[name]["annotations"]["runbook_url"] == f"{VALUES['prometheusRule']['runbooks']}/{name}.md"
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    for part in ("**Meaning.**", "**Impact.**", "## Check", "## Do"):
        assert part in text


def test_each_page_belongs_to_an_alert_and_is_listed():
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == set(ALERTS)
    listed = (PAGES / "README.md").read_text()
    assert [name for name in pages if f"({name}.md)" not in listed] == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_about_a_resource_has_the_namespace_of_that_resource(name):
    # The series have the operator's; a tenant's routes select by this label.
    assert ("namespace" in ALERTS[name]["labels"]) == ("$labels.speculator" in ALERTS[name]["annotations"]["summary"])


BOARDS = {path.stem: json.loads(path.read_text()) for path in (CHART / "dashboards").glob("*.json")}
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in board["panels"] if panel["type"] != "row"]


def queries(panel):
    return [target["expr"] for target in panel["targets"]]


def test_every_query_reads_metrics_that_exist():
    known = {name for metric in metrics.ALL for name in metric.series}
    known |= {metrics.unrolled("accuracy", 0).name.removesuffix("0")}
    for name, panel in PANELS:
        for query in queries(panel):
            used = set(re.findall(r"(?:aurora_|sglang:)[a-z0-9_]+", query))
            assert used, (name, panel["title"])
            assert used <= known, (name, panel["title"])


def test_a_number_is_not_0_where_nothing_is_scraped():
    assert [panel["title"] for _, panel in PANELS for query in queries(panel) if "vector(" in query] == []
    counts = [
        query for name, panel in PANELS if (name, panel["title"]) == ("fleet", "Degraded") for query in queries(panel)
    ]
    assert all(f"count({metrics.CONDITION}" in query and "== 1) or 0 * count(" in query for query in counts)
    assert len(counts) == 1


def test_the_fleet_table_says_which_one_and_leads_to_it():
    (table,) = [panel for name, panel in PANELS if panel["type"] == "table"]
    columns = next(t for t in table["transformations"] if t["id"] == "organize")["options"]["renameByName"]
    assert {"Degraded", "Ready", "Desired", "Stable", "Candidate"} <= set(columns.values())
    assert "/d/aurora-deployment?var-speculator=" in json.dumps(table)


def test_what_users_see_is_beside_accept_length():
    shown = " ".join(query for name, panel in PANELS if name == "deployment" for query in queries(panel))
    for metric in (metrics.FIRST_TOKEN_SECONDS, metrics.INTER_TOKEN_SECONDS):
        assert f"{metric.name}_bucket" in shown
    for metric in (metrics.REQUESTS_QUEUED, metrics.REQUESTS_RUNNING, metrics.KV_USED, metrics.ACCEPT_TOKENS):
        assert str(metric) in shown


def test_the_gate_s_bar_is_drawn_beside_the_interval_and_verdicts_are_marked():
    (shown,) = [queries(panel) for _, panel in PANELS if panel["title"] == "Candidate over stable"]
    beside = (metrics.GATE_RATIO_OF_SUMS, metrics.GATE_SPEED_RATIO, metrics.GATE_BAR)
    assert [str(one) in query for one, query in zip(beside, shown[1:], strict=True)] == [True] * 3
    for board in BOARDS.values():
        assert [str(metrics.OPERATOR_VERDICTS) in one.get("expr", "") for one in board["annotations"]["list"]][-1]


def test_panels_have_units_and_say_how_to_read_them():
    for name, panel in PANELS:
        assert panel["description"], (name, panel["title"])
        assert panel["fieldConfig"]["defaults"]["unit"], (name, panel["title"])


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_lead_to_each_other_with_what_is_chosen(name):
    (link,) = BOARDS[name]["links"]
    assert (link["tags"], link["includeVars"], link["keepTime"]) == (["aurora"], True, True)


def test_every_event_of_promotion_is_documented():
    page = (ROOT / "docs" / "notifications.md").read_text()
    named = {word for verdicts in outcome.VERDICTS.values() for word in verdicts}
    source = "".join(path.read_text() for path in (ROOT / "operator" / "src").rglob("*.py"))
    named |= set(re.findall(r"reported\(\s*\"(\w+)\"", source)) | set(re.findall(r"Note\(\"\w+\", \"(\w+)\"", source))
    assert len(named) > 10
    assert [name for name in sorted(named) if f"`{name}`" not in page] == []


def test_the_routes_for_alertmanager_cover_every_severity():
    page = (ROOT / "docs" / "notifications.md").read_text()
    config, tenant = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    routed = {re.search(r'severity="(\w+)"', str(route["matchers"]))[1] for route in config["route"]["routes"]}
    assert routed == {rule["labels"]["severity"] for rule in ALERTS.values()}
    receivers = {one["name"] for one in config["receivers"]}
    assert {route["receiver"] for route in (config["route"], *config["route"]["routes"])} == receivers
    assert tenant["kind"] == "AlertmanagerConfig"
