"""Modules are short enough to be read in one go, and the tests of all packages can be run in one."""

import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 300
"""Lines of a module. One that grows beyond them has two concepts: give the second a module of its own."""


def test_no_module_is_longer_than_300_lines():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    modules = [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]
    assert len(modules) > 300
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in modules}
    assert {name: lines for name, lines in lengths.items() if lines > MOST} == {}


def test_pytest_can_import_the_tests_of_all_packages_at_once():
    """It imports them by the names of their files."""
    listed = subprocess.run(
        ["git", "ls-files", "test_*.py", "*/test_*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    names = Counter(Path(name).name for name in set(listed.splitlines()))
    assert len(names) > 200
    assert [name for name, files in names.items() if files > 1] == []
