"""The commands and their options, and which function carries each out."""

import argparse
from pathlib import Path
from typing import Any

from aurora_core.cli import data_commands, draft_commands, online, processes
from aurora_core.cli import versions as stored


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not (name and value):
        message = f"expected NAME=VALUE, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return name, value


def parser(description: str) -> argparse.ArgumentParser:
    """The parser; what it returns has the command as ``run``."""
    top = argparse.ArgumentParser(prog="aurora-core", description=description)
    commands = top.add_subparsers(required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, description=text)
        found.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
        return found

    setting: dict[str, Any] = {
        "action": "append",
        "default": [],
        "metavar": "NAME=VALUE",
        "help": "replaces a setting of the configuration, such as training.learning_rate=1e-4",
    }

    def process(name: str, text: str, *, models: bool = True) -> argparse.ArgumentParser:
        found = command(name, text)
        found.add_argument("--work", type=Path, required=True, help="folder of weights, samples and training state")
        if models:
            found.add_argument("--config", type=Path, required=True, help="YAML file that all processes share")
            found.add_argument("--set", **setting)
            found.add_argument("--print-config", action="store_true", help="print the configuration, and do nothing")
            found.add_argument("--models", type=Path, help="folder of fetched models, by default in AURORA_CACHE")
        return found

    label: dict[str, Any] = {"type": _label, "action": "append", "default": [], "help": "NAME=VALUE, on every metric"}
    train = process("train", "Train on the samples that arrive, and publish versions.")
    train.add_argument("--metrics-port", type=int, help="serve Prometheus metrics there")
    train.add_argument("--in-use", type=Path, help="file of versions to keep; with it, the trainer prunes old ones")
    train.add_argument("--label", **label)
    train.set_defaults(run=processes.train)

    engine = process("engine", "Become SGLang with the plugin, on the version that is desired.")
    engine.add_argument("--desired", type=Path, required=True, help="folder of the files version and steps")
    engine.add_argument("--runtime", type=Path, required=True, help="folder for files that the engine needs to run")
    engine.add_argument("--spool", type=Path, help="folder of samples, by default that of the work folder")
    engine.set_defaults(run=processes.engine)

    agent = process("agent", "Run the sync agent beside an engine.", models=False)
    agent.add_argument("--engine", required=True, help="URL of the engine")
    agent.add_argument("--host", default="127.0.0.1", help="address to listen on; *: all, of IPv4 and IPv6")
    agent.add_argument("--port", type=int, default=30001)
    agent.add_argument("--label", **label)
    agent.set_defaults(run=processes.agent)

    online.add(process).add_argument("--label", **label)

    init = process("init", "Fetch the target, and publish version 0: the configured checkpoint, or a new draft.")
    init.set_defaults(run=processes.init)

    versions = process("versions", "List the versions of a store, a JSON object in each line.", models=False)
    versions.set_defaults(run=stored.versions)

    verify = command("verify", "Check every byte of every version of a store.")
    verify.add_argument("weights", type=Path)
    verify.set_defaults(run=stored.verify)

    draft_commands.add(command, process)
    data_commands.add(command, process)
    return top
