"""The threat model leads to tests that are there, and speaks of every kind of threat."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in TEXT.partition("## Threats")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| threat ")
]
SUBJECTS = {
    "credentials of an engine": "server_info",
    "values of Secrets": "test_secrets.py",
    "borrowed rights": "podTemplate that borrows rights",
    "hostile resources": "fuzz.py",
    "memory and time": "deadline in all",
    "scale": "1,000 resources",
    "origin of evidence": "test_origin.py",
    "lost statuses and volumes": "test_lost_status.py",
    "verified versions": "checksum of its own",
    "poison": "test_poison.py",
    "users' data": "test_retention.py",
    "two and old operators": "test_lease.py",
    "network": "NetworkPolicy",
    "supply chain": "SBOM",
    "terminal": "test_terminal.py",
}


def named(cell):
    """Paths in the last cell; what follows a path in the same folder may be named by its file alone."""
    folder = None
    for path in re.findall(r"`([\w./-]+\.py)`", cell):
        folder = Path(path).parent if "/" in path else folder
        yield path if "/" in path else str(folder / path)


def test_every_threat_names_what_shows_its_guarantee():
    assert len(ROWS) > 40
    assert [row for row in ROWS if len(row) != 3 or not [*named(row[2])]] == []


@pytest.mark.parametrize("path", sorted({path for *_, cell in ROWS for path in named(cell)}))
def test_what_it_names_is_there_and_is_a_test(path):
    text = (ROOT / path).read_text()
    assert "\ndef test_" in text or "benchmarks/" in path


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_has_a_line(subject):
    assert [row for row in ROWS if SUBJECTS[subject] in " ".join(row)], f"no line about {subject}"
