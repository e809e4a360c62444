"""Modules are short enough to be read in one go."""

import subprocess
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
