"""The chart's page has every value, and what Artifact Hub shows of it is so."""

import json
import re
from pathlib import Path

import pytest
import yaml
from aurora_operator.api.reading import read
from aurora_operator.api.schema import crd

CHART = Path(__file__).parents[2] / "charts" / "aurora-operator"
VALUES = (CHART / "values.yaml").read_text()
PAGE = (CHART / "README.md").read_text()
ABOUT = yaml.safe_load((CHART / "Chart.yaml").read_text())
ROWS = {row[1]: (row[2], row[3]) for row in re.finditer(r"^\| (\S+) \| \w+ \| `(.*?)` \| (.*) \|$", PAGE, re.MULTILINE)}
"""Default and description by the path of a value."""


def paths(value, at=""):
    """A value's leaves, unless an object above them has its row."""
    if at in ROWS or not isinstance(value, dict) or not value:
        return [(at, value)]
    return [found for name, part in value.items() for found in paths(part, f"{at}.{name}" if at else name)]


@pytest.mark.parametrize(("path", "default"), paths(yaml.safe_load(VALUES)))
def test_every_value_is_on_the_page_with_its_default_and_what_it_is_for(path, default):
    shown, text = ROWS[path]
    assert json.loads(shown) == default
    assert text


def test_the_page_says_of_each_value_what_the_values_file_says():
    comments = re.findall(r"# -- (.*(?:\n\s*# (?!--).*)*)", VALUES)
    written = {re.sub(r"\s*\n\s*# ", " ", comment) for comment in comments}
    assert {text for _, text in ROWS.values()} == written


def test_artifact_hub_shows_the_resource_as_it_is():
    (shown,) = yaml.safe_load(ABOUT["annotations"]["artifacthub.io/crds"])
    served = crd()
    assert (shown["name"], shown["kind"]) == (served["metadata"]["name"], served["spec"]["names"]["kind"])
    assert shown["version"] in {one["name"] for one in served["spec"]["versions"]}
    (example,) = yaml.safe_load(ABOUT["annotations"]["artifacthub.io/crdsExamples"])
    example["metadata"] |= {"namespace": "ns", "uid": "u", "generation": 1}
    reading = read(example)
    assert reading.spec.serving.replicas == 4
    assert reading.ignored == ()


def test_links_lead_to_files_that_are_there():
    home = ABOUT["home"]
    links = yaml.safe_load(ABOUT["annotations"]["artifacthub.io/links"])
    for link in links:
        below = link["url"].removeprefix(f"{home}/blob/main/")
        assert (CHART.parents[1] / below).is_file(), below


def test_there_are_ten_files_of_values_for_other_surroundings_and_each_says_for_which():
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    assert len(files) == 10
    assert all(path.read_text().startswith("# ") for path in files)
