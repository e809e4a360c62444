"""A SGLang of a command's own, which lives as long as it is needed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from aurora_core.child import Process
from aurora_core.engine.launch import Command

_START_SECONDS = 1800.0


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
        child.wait_until_healthy(f"{url}/health", _START_SECONDS)
        yield url
    finally:
        child.stop()
