"""Alerts lead to their pages, and dashboards to what they show."""

from pathlib import Path

import pytest
import yaml

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
