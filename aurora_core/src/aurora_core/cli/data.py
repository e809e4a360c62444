"""The commands about data sets: answers of the target, and what is learned and measured with them."""

import argparse
import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aurora_core import credentials
from aurora_core.cli.terminal import printable_lines

_SHOWN = 5
"""Failures that are printed one by one."""


@contextlib.contextmanager
def _served(target: Path, log: Path) -> Iterator[str]:
    """An engine of a target alone, at a port that is free."""
    from aurora_core.config import ServingConfig, TargetConfig  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.datasets.server import serving  # noqa: PLC0415
    from aurora_core.engine import launch  # noqa: PLC0415

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = launch.target_only(target, TargetConfig(model=str(target)), ServingConfig(port=port))
    print(f"starting SGLang; its log is {log}", file=sys.stderr)
    with serving(command, f"http://127.0.0.1:{port}", log) as url:
        yield url


def generate(arguments: argparse.Namespace) -> None:
    """Answer conversations; the exit status is 1 where some failed, and the same command tries those again."""
    from aurora_core.datasets import conversations, generation  # noqa: PLC0415 (torch and more: only where needed)

    found, out = conversations.read(arguments.prompts, arguments.domain_field), arguments.out
    log = out.with_name(f"{out.name}.log")
    left = len(found) - len({one.id for one in found} & generation.finished(out))
    with contextlib.ExitStack() as stack:
        url = arguments.url or (stack.enter_context(_served(arguments.target, log)) if left else "")
        bar: tqdm[Any] = stack.enter_context(tqdm(total=left, desc="generate", disable=not left))
        requesting = generation.Requesting(
            url,
            arguments.model,
            credentials.from_environment("AURORA_API_KEY"),
            arguments.concurrency,
            arguments.max_tokens,
            arguments.temperature,
        )
        outcome = generation.generate(found, requesting, out, lambda: bar.update(1))
    for failure in outcome.failures[:_SHOWN]:
        print(f"failed: {printable_lines(failure)}", file=sys.stderr)
    print(f"{out}: {outcome.answered} answered, {outcome.before} from before, {len(outcome.failures)} failed")
    sys.exit(1 if outcome.failures else 0)
