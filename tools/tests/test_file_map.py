"""The maps lead to files that are there, and name every one."""

import re
from pathlib import Path

import changes
import file_map
from aurora_core.config.effect import Effect
from aurora_operator.api.schema import spec_schema

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "aurora_core" / "src" / "aurora_core", ROOT / "operator" / "src" / "aurora_operator"]


def test_the_files_that_the_architecture_names_are_there():
    named = set(re.findall(r"`([a-z_0-9/]+\.py)`", (ROOT / "docs" / "architecture.md").read_text()))
    assert len(named) > 60
    there = [path.as_posix() for root in PACKAGES for path in root.rglob("*.py")]
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in there)] == []


def test_every_package_of_the_product_is_in_the_architecture():
    table = (ROOT / "docs" / "architecture.md").read_text().partition("| folder | what |")[2].partition("\n\n")[0]
    packages = {path.parent.name for root in PACKAGES for path in root.glob("*/__init__.py")}
    assert packages - set(re.findall(r"`(\w+)`", table)) == set()


def test_every_module_of_the_product_is_on_the_map_with_what_it_says_of_itself():
    summaries = {}
    for line in file_map.lines(ROOT):
        if line.endswith("/"):
            folder = line.strip("\n/")
        elif found := re.fullmatch(r"  (\w+\.py) +(.+)", line):
            summaries[f"{folder}/{found[1]}"] = found[2]
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in package.rglob("*.py")}
    assert len(modules) > 250
    assert modules - summaries.keys() == set()
    assert summaries["aurora_core/src/aurora_core/samples/spool.py"].startswith("Samples as files in a folder")


def test_readme_says_of_each_field_what_the_field_says():
    rows = dict(changes._rows(spec_schema()))
    assert rows["`samples.sampleRate`"] == rows["other `promotion.*`"] == rows["`serving.replicas`"] == Effect.IN_PLACE
    assert rows["`promotion.strata.by`"] == rows["other `serving.*`"] == Effect.ENGINES
    assert rows["`training.*`"] == rows["`samples.poolSize`"] == Effect.TRAINER
    assert rows["other `samples.*`"] == rows["`draft.topK`"] == Effect.BOTH
    assert rows["`target.model`"] == rows["`draft.shape`"] == rows["`mode`"] == Effect.REFUSED
    assert changes.table(spec_schema()) in (ROOT / "README.md").read_text()
