"""A SGLang of a command's own, which lives as long as it is needed."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from aurora_core.child import Process
from aurora_core.engine.launch import Command
from aurora_core.errors import EngineError

_START_SECONDS = 1800.0


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _wait(child: Process, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _healthy(url):
        if not child.alive() or time.monotonic() > deadline:
            raise EngineError(f"SGLang did not start; the end of {child.log}:\n{child.last_lines()}")
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
    child = Process.start("SGLang", command.arguments, command.environment, log)
    try:
        _wait(child, url)
        yield url
    finally:
        child.stop()
