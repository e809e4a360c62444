"""Install pages: every one is listed and says what was not tried, and what it shows is taken."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from aurora_operator.api.reading import read

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs" / "install").glob("*.md") if path.stem != "README"}
BLOCKS = [
    (name, text)
    for name, page in {**PAGES, "gitops": (ROOT / "docs" / "gitops.md").read_text()}.items()
    for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
]
CHART = ROOT / "charts" / "aurora-operator"


def bodies():
    return [(name, body) for name, text in BLOCKS for body in yaml.safe_load_all(text)]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_listed_and_says_what_was_and_was_not_tried(name):
    assert f"({name}.md)" in (ROOT / "docs" / "install" / "README.md").read_text()
    assert "**Tried:**" in PAGES[name]
    assert "**Not tried:**" in PAGES[name]


def test_resources_are_read_completely_and_without_a_fault():
    found = [(name, body) for name, body in bodies() if body.get("kind") == "SpeculatorDeployment"]
    assert len(found) > 5
    for name, body in found:
        reading = read({**body, "metadata": {**body["metadata"], "namespace": "ns", "uid": "u", "generation": 1}})
        assert reading.ignored == (), name


def test_values_are_those_that_the_chart_has():
    schema = json.loads((CHART / "values.schema.json").read_text())
    found = [(name, yaml.safe_load(text)) for name, text in BLOCKS if text.startswith("# values\n")]
    assert len(found) > 2
    for _, values in found:
        jsonschema.validate(values, schema)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\((?!http)([^)#]+)", PAGES[name]):
        assert (ROOT / "docs" / "install" / link).exists(), link


def test_the_prometheus_of_the_stack_is_named_as_its_chart_names_it():
    values = yaml.safe_load((CHART / "ci" / "kube-prometheus-stack-values.yaml").read_text())
    service = "kps-kube-prometheus-stack-prometheus.monitoring.svc:9090"
    assert values["prometheus"]["allowedHosts"] == [service]
    assert f"http://{service}" in PAGES["kube-prometheus-stack"]
