"""The command of mode Online."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_core.cli.configured import configuration
from aurora_core.cli.places import models_folder
from aurora_core.cli.processes import STOPPED
from aurora_core.cli.terminal import printable_lines
from aurora_core.errors import ConfigError
from aurora_core.online import on_loopback

if TYPE_CHECKING:
    from collections.abc import Callable


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
    found.add_argument("--in-use", type=Path, help="file of versions to keep; with it, the trainer prunes old ones")
    found.set_defaults(run=online)
    return found


def online(arguments: argparse.Namespace) -> None:
    """Serve and train until stopped."""
    config = configuration(arguments)
    if arguments.address is None:
        on_loopback()
    try:
        from aurora_core.online.run import Options, run  # noqa: PLC0415 (Ray and torch: only where needed)
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
    )
    left = run(config, options, lambda text: print(printable_lines(f"aurora: {text}"), flush=True))
    sys.exit(0 if left else STOPPED)
