"""The page of situations names tests that are there, and every test of situations."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "situations.md").read_text()))
FILES = {
    path.name: path.read_text()
    for part in ("e2e", "operator", "aurora_core")
    for path in (ROOT / part).rglob("test_*.py")
}


def defined(text):
    return set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))


def test_every_test_that_it_names_is_there():
    assert len(NAMED) > 60
    assert [at for at in sorted(NAMED) if at[1] not in defined(FILES.get(at[0], ""))] == []


def test_every_row_names_one():
    rows = [line for line in (ROOT / "docs" / "situations.md").read_text().splitlines() if line.startswith("| ")]
    assert [row for row in rows if "::test_" not in row and not row.startswith("| situation |")] == []


def test_every_test_of_situations_is_on_it():
    found = {
        (name, test) for name, text in FILES.items() if name.startswith("test_situations_of") for test in defined(text)
    }
    assert found - NAMED == set()
