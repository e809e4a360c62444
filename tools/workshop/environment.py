"""Virtual environments: the locked one of `make test`, and a contributor's, which needs neither Debian nor root."""

import os
import shutil
import time
import tomllib
from pathlib import Path

from workshop import packages
from workshop.cache import CACHE, ROOT, digest
from workshop.process import Processes, StepError
from workshop.progress import Step

UV_VERSION = "0.13.9"
PYTHON = os.environ.get("AURORA_PYTHON") or "/usr/bin/python3.11"
_MEMBERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
PROJECTS = tuple(ROOT / folder / "pyproject.toml" for folder in (".", *_MEMBERS))
"""Of the workspace, its root first."""
_KEPT_DAYS = 14
CONTRIBUTOR = {
    "operator": (ROOT / ".venv", ROOT / "operator" / "dev.lock", ("operator", "aurora_core")),
    "core": (ROOT / ".venv-core", ROOT / "aurora_core" / "dev.lock", ("operator", "aurora_core", "aurora_core/demo")),
}
"""Folder, lock file, and distributions that are installed in place, by name of the environment."""


def complete() -> Path:
    """The folder of the environment with everything in it: one for each lock file and checkout."""
    return CACHE / "venv" / digest((ROOT / "requirements.lock", *PROJECTS), str(ROOT))


def uv(processes: Processes, step: Step) -> Path:
    """The pinned uv, fetched where it is not there."""
    folder = CACHE / f"tools-uv-{UV_VERSION}"
    command = folder / "bin" / "uv"
    if not command.exists():
        processes.logged(step, PYTHON, "-m", "venv", folder)
        processes.logged(step, folder / "bin" / "pip", "install", "-q", f"uv=={UV_VERSION}")
    return command


def make_complete(processes: Processes, step: Step, *, more_packages: tuple[str, ...] = ()) -> None:
    """Packages of the system, uv, and the locked environment."""
    packages.install((*packages.ENVIRONMENT, *more_packages), lambda *command: processes.logged(step, *command))
    command, venv = uv(processes, step), complete()
    own = {"UV_CACHE_DIR": str(CACHE / "uv"), "VIRTUAL_ENV": str(venv)}
    if not (venv / ".complete").exists():
        processes.logged(step, command, "venv", "--clear", "--python", PYTHON, venv, **own)
        processes.logged(
            step, command, "pip", "sync", "--require-hashes", ROOT / "requirements.lock", **own
        )  # fmt: skip
        paths = [part for project in PROJECTS[1:] for part in ("-e", project.parent)]
        processes.logged(step, command, "pip", "install", "--no-deps", *paths, **own)
        (venv / ".complete").touch()
    for other in venv.parent.iterdir():
        if other != venv and other.stat().st_mtime < time.time() - _KEPT_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)
    os.utime(venv)


def make_contributor(processes: Processes, step: Step, name: str) -> Path:
    """A small environment in the checkout, by the uv on the PATH or the pinned one; returns its folder of commands.

    Raises:
        StepError: there is no uv.
    """
    venv, lock, paths = CONTRIBUTOR[name]
    stamp = digest((lock, *PROJECTS))
    done = venv / ".complete"
    if not (done.exists() and done.read_text() == stamp):
        pinned = CACHE / f"tools-uv-{UV_VERSION}" / "bin" / "uv"
        command = shutil.which("uv") or (str(pinned) if pinned.exists() else None)
        if command is None:
            message = "uv is not on the PATH: https://docs.astral.sh/uv/getting-started/installation"
            raise StepError(message)
        own = {"VIRTUAL_ENV": str(venv)}
        processes.logged(step, command, "venv", "--clear", "--python", "3.11", venv, **own)
        processes.logged(step, command, "pip", "sync", "--require-hashes", lock, **own)
        editable = [part for path in paths for part in ("-e", path)]
        processes.logged(step, command, "pip", "install", "--no-deps", *editable, **own)
        done.write_text(stamp)
    return venv / "bin"
