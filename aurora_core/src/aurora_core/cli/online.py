"""The command of mode Online."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_core.cli.configured import configuration
from aurora_core.cli.data_commands import count
from aurora_core.cli.draft_commands import FORMS
from aurora_core.cli.paths import models_folder
from aurora_core.cli.processes import STOPPED
from aurora_core.cli.terminal import printable_lines
from aurora_core.errors import ConfigError
from aurora_core.online import on_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from aurora_core.online.prompts import Asked


def add(process: "Callable[[str, str], argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    found = process("online", "Serve and train in one Ray cluster, on what is served, until stopped.")
    found.add_argument("--address", help="Ray cluster to join, such as auto; by default one is started here")
    found.add_argument(
        "--agents",
        choices=("own", "sidecar"),
        default="own",
        help="own: start the sync agents, and make the newest version live; sidecar: they are there, and others decide",
    )
    found.add_argument(
        "--desired", type=Path, help="folder on the engines' nodes of the files version and steps to start with"
    )
    found.add_argument("--runtime", type=Path, help="folder on the engines' nodes for files that they need to run")
    found.add_argument("--metrics-port", type=int, help="serve the trainer's Prometheus metrics there")
    found.add_argument(
        "--prompts", type=Path, nargs="+", help=f"conversations that engines answer beside users, who go first: {FORMS}"
    )
    found.add_argument("--prompts-concurrency", type=count, default=4, help="requests of them at a time, at most")
    found.add_argument("--prompts-max-tokens", type=count, default=512, help="of each answer to them")
    found.add_argument("--prompts-temperature", type=float, default=1.0)
    found.add_argument("--until-trained", action="store_true", help="end once all prompts are asked and trained on")
    found.add_argument("--in-use", type=Path, help="file of versions to keep; with it, the trainer prunes old ones")
    found.set_defaults(run=online)
    return found


def online(arguments: argparse.Namespace) -> None:
    """Serve and train until stopped."""
    config = configuration(arguments)
    if arguments.address is None:
        on_loopback()
    elif arguments.prompts:
        raise ConfigError(
            "--prompts is for one machine: in a cluster aurora-core generate FILE --url URL asks the engines' endpoint"
        )
    if arguments.until_trained and not arguments.prompts:
        raise ConfigError("--until-trained needs --prompts: without a data set there is no end")
    prompts = _prompts(arguments)
    try:
        from aurora_core.online.run import run  # noqa: PLC0415
        from aurora_core.online.setup import Options  # noqa: PLC0415 (Ray and torch: only where needed)
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ConfigError("mode Online needs Ray: pip install 'aurora-core[online]'") from error
    options = Options(
        work=arguments.work.resolve(),
        models=(arguments.models or models_folder()).resolve(),
        address=arguments.address,
        own_agents=arguments.agents == "own",
        desired=arguments.desired,
        runtime=arguments.runtime,
        in_use=arguments.in_use,
        metrics_port=arguments.metrics_port,
        labels=dict(arguments.label),
        # Actors of a joined cluster outlive this process, so the next one can go by what was changed.
        file=None if arguments.address is None else arguments.config.resolve(),
        prompts=prompts,
    )
    ended = run(config, options, lambda text: print(printable_lines(f"aurora: {text}"), flush=True))
    sys.exit(0 if ended else STOPPED)


def _prompts(arguments: argparse.Namespace) -> "Asked | None":
    """The data set that was named, if any."""
    from aurora_core.datasets import conversations  # noqa: PLC0415 (httpx and more: only where needed)
    from aurora_core.datasets.generation import Requesting  # noqa: PLC0415
    from aurora_core.online.prompts import Asked  # noqa: PLC0415

    if not arguments.prompts:
        return None
    requesting = Requesting(
        "",
        concurrency=arguments.prompts_concurrency,
        max_tokens=arguments.prompts_max_tokens,
        temperature=arguments.prompts_temperature,
    )
    return Asked(conversations.read(arguments.prompts), requesting, arguments.until_trained)
