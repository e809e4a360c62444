"""Any test files run in one call: no two of them share a name."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITES = ("operator", "aurora_core", "e2e", "workshop")
FILES = [path for suite in SUITES for path in sorted((ROOT / suite).rglob("*.py"))]


def test_test_files_and_their_support_modules_have_distinct_names():
    names = Counter(path.name for path in FILES if path.name.startswith("test_") or path.name.endswith("_support.py"))
    assert [name for name, times in names.items() if times > 1] == []
    assert len(names) > 40
