"""Peers' packages, outside the repository, and a process for each trainer."""

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

CACHE = Path.home() / ".cache" / "aurora"
SOURCES = {
    "specforge": "specforge==0.2.0",
    "speculators": "speculators==0.9.0 hs-connectors==0.9.0",
    "torchspec": "https://github.com/torchspec-project/TorchSpec 6dda2bfc7b181158697245eee3f17d0e9c766750",
}
"""What each peer is: packages of PyPI, or a repository and a commit of it, whose package would lack its modules."""


def project(trainer: str) -> str:
    """The project that a way of training belongs to."""
    return trainer.partition("-")[0]


def source(text: str) -> tuple[str, Path]:
    """NAME=FOLDER of ``--source``.

    Raises:
        argparse.ArgumentTypeError: there is no such peer or folder.
    """
    name, _, folder = text.partition("=")
    if name not in SOURCES or not folder or not Path(folder).is_dir():
        message = f"{text!r} is not NAME=FOLDER with one of {', '.join(SOURCES)} and a folder that exists"
        raise argparse.ArgumentTypeError(message)
    return name, Path(folder).resolve()


def install(name: str, folder: Path) -> None:
    """Put a peer's packages into a folder, which is there only when all of them are.

    What they in turn need is not installed: each pins a torch of its own, and all are to run with the same one.

    Raises:
        subprocess.CalledProcessError: it cannot be had; the message of uv or git is above.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    print(f"installing {SOURCES[name]} into {folder}", flush=True)
    what = SOURCES[name].split()
    if what[0].startswith("https://"):
        git = [shutil.which("git") or sys.exit("git is not on the PATH"), "-C", str(part)]
        part.mkdir(parents=True)
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "fetch", "-q", "--depth", "1", *what], check=True)
        subprocess.run([*git, "checkout", "-q", "FETCH_HEAD"], check=True)
    else:
        pinned = sorted(CACHE.glob("tools-uv-*/bin/uv"))
        uv = shutil.which("uv") or (str(pinned[-1]) if pinned else sys.exit("uv is not on the PATH"))
        install_into = [uv, "pip", "install", "-q", "--no-deps", "--python", sys.executable, "--target", str(part)]
        subprocess.run([*install_into, *what], check=True)
    part.rename(folder)


def variables(name: str, sources: Mapping[str, Path]) -> dict[str, str]:
    """Environment variables of a project's trainers; a peer is installed where it is not there yet.

    Args:
        name: of the project.
        sources: folders of checkouts to import instead.
    """
    found = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "TOKENIZERS_PARALLELISM": "false"}
    if name == "ours":
        return found
    folder = sources.get(name) or CACHE / f"peer-{name}-{sha256(SOURCES[name].encode()).hexdigest()[:8]}"
    if not folder.exists():
        install(name, folder)
    return {**found, "PYTHONPATH": f"{folder}{os.pathsep}{found['PYTHONPATH']}"}


class Peer:
    """A trainer's process."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    @classmethod
    def start(cls, command: Sequence[str], surroundings: Mapping[str, str], log: Path) -> Self:
        """Start one.

        Args:
            command: of the process.
            surroundings: its environment variables.
            log: file for what it says on stderr.
        """
        with log.open("w") as errors:
            process = subprocess.Popen(
                command, env=dict(surroundings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        return cls(process, log)

    def order(self, **order: object) -> None:
        """Write what it should do next."""
        stdin = self._process.stdin
        if stdin and not stdin.closed:
            with suppress(BrokenPipeError):  # It has ended: the answer says why.
                stdin.write(json.dumps(order) + "\n")
                stdin.flush()

    def answer(self, until: float) -> dict[str, Any]:
        """What came of the last order; waits for it until a time of the monotonic clock, then ends the process."""
        output = self._process.stdout
        if output is None or output.closed:
            return {"error": "it was ended before"}
        while select.select([output], [], [], max(0.0, until - time.monotonic()))[0]:
            line = output.readline()
            if not line:
                return {"error": self._log.read_text(errors="replace").strip()[-400:] or "it ended without a word"}
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        self.stop()
        return {"error": "not done in its time"}

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        with suppress(BrokenPipeError), self._process:
            pass
