"""A SGLang of a command's own, which lives as long as it is needed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from aurora_core.engine.launch import Command
from aurora_core.errors import EngineError

_START_SECONDS = 1800.0
_GRACE_SECONDS = 15.0


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _wait(child: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _healthy(url):
        if child.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise EngineError(f"SGLang did not start; the end of {log}:\n{tail}")
        time.sleep(1)


@contextlib.contextmanager
def serving(command: Command, url: str, log: Path) -> Iterator[str]:
    """Run an engine while the context lasts; gives its URL once it answers.

    Args:
        command: what to run.
        url: where it will answer.
        log: file of what it prints.

    Raises:
        EngineError: it ended, or does not answer within half an hour.
    """
    with log.open("ab") as file:
        child = subprocess.Popen(
            command.arguments,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        _wait(child, url, log)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
        # Also what the engine left in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
