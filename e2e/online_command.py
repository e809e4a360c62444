"""`aurora-core online` as a process, and its many others, which are those with its key in their environment."""

import os
from collections.abc import Mapping
from pathlib import Path

from aurora_core.child import Process


def start(config: Path, work: Path, settings: Mapping[str, object], key: str, *more: str) -> Process:
    """Start the command; ``settings`` replace those of the file, and ``more`` are further options."""
    arguments = ["online", "--config", str(config), "--work", str(work), *more]
    arguments += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    environment = {
        **os.environ,
        "AURORA_ADMIN_KEY": key,
        "AURORA_AGENT_TOKEN": key,
        # As where another cluster is on this machine: it starts its own all the same.
        "RAY_ADDRESS": "127.0.0.1:1",
    }
    return Process.aurora("online", arguments, environment, work / "online.log")


def pids(key: str, name: str = "") -> list[int]:
    """Processes of the command with this key whose command line has the name in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = key.encode() in (folder / "environ").read_bytes()
            if ours and name in (folder / "cmdline").read_text(errors="replace"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found
