"""Each promise of the gate's page names tests, benchmarks and conditions that are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "docs" / "promotion.md").read_text().partition("| section | promise | its line |\n|---|---|---|\n")[2]
SOURCES = [path.read_text() for path in (*ROOT.glob("*/tests/test_*.py"), *ROOT.glob("benchmarks/*.py"))]


def conditions():
    """Names of the benchmark's conditions, without its imports."""
    tree = ast.parse((ROOT / "benchmarks" / "conditions.py").read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [keyword.value for call in found for keyword in call.keywords if keyword.arg == "name"]
    named += [call.args[0] for call in found if getattr(call.func, "id", "") == "Condition"]
    return {one.value for one in named if isinstance(one, ast.Constant)}


def test_every_promise_has_a_line_that_is_there():
    promises = LINES.splitlines()
    assert len(promises) > 40
    for promise in promises:
        line = promise.split(" | ")[2]
        tests = re.findall(r"`(test_\w+)`", line)
        assert [name for name in tests if not any(f"def {name}(" in source for source in SOURCES)] == []
        scripts = re.findall(r"`(benchmarks/\w+\.py)[^`]*`", line)
        assert [name for name in scripts if not (ROOT / name).exists()] == []
        named = re.findall(r'"([^"]+)"', line)
        assert set(named) - conditions() == set()
        assert tests or scripts or named, promise


def test_every_condition_but_those_of_plain_traffic_proves_a_promise_and_the_page_has_their_number():
    page = (ROOT / "docs" / "promotion.md").read_text()
    assert f"under {len(conditions())} conditions" in page
    assert len(conditions() - set(re.findall(r'"([^"]+)"', LINES))) < 20
