"""Scripts, the workshop and the core's commands keep what they fetch in the same folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL = 'source tools/cache.sh; echo "$cache"'
WORKSHOP = "from workshop.cache import CACHE; print(CACHE)"
CORE = "from aurora_core.cli.paths import models_folder; print(models_folder().parent)"


def printed(given, *command):
    paths = {"PYTHONPATH": f"{ROOT / 'tools'}{os.pathsep}{ROOT / 'aurora_core' / 'src'}", "HOME": "/home/someone"}
    environment = {name: value for name, value in os.environ.items() if name != "AURORA_CACHE"} | paths | given
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("given", [{}, {"AURORA_CACHE": ""}, {"AURORA_CACHE": "/srv/a folder"}])
def test_everything_is_kept_in_one_folder(given):
    found = {printed(given, "bash", "-c", SHELL)}
    found |= {printed(given, sys.executable, "-c", code) for code in (WORKSHOP, CORE)}
    assert found == {given.get("AURORA_CACHE") or "/home/someone/.cache/aurora"}


def test_no_other_script_has_a_default_of_its_own():
    listed = subprocess.run(["git", "ls-files", "*.sh"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    having = [name for name in listed.splitlines() if ".cache/aurora" in (ROOT / name).read_text()]
    assert having == ["tools/cache.sh"]
