"""Where else metrics go: services and files that draw a run's curves. Their packages are installed by who uses them."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aurora_core.errors import ConfigError

Track = Callable[[Mapping[str, float], int], None]
"""Takes values by name, and the optimizer step that they are of."""


def _wandb(_folder: Path) -> Track:
    run: Any = importlib.import_module("wandb").init(project="aurora")
    return lambda values, step: run.log(dict(values), step=step)


def _tensorboard(folder: Path) -> Track:
    # torch's writer needs the package tensorboard, and says so by an ImportError too.
    writer: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))

    def track(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        # What is only queued is lost with the process.
        writer.flush()

    return track


_TRACKERS = {"wandb": _wandb, "tensorboard": _tensorboard}


def tracker(name: str, folder: Path) -> Track | None:
    """What metrics are forwarded to; None for ``none``.

    Args:
        name: as ``training.report_to`` has it.
        folder: TensorBoard's files go to ``tensorboard`` in it.

    Raises:
        ConfigError: the package is not installed.
    """
    if name == "none":
        return None
    try:
        return _TRACKERS[name](folder)
    except ImportError as error:
        raise ConfigError(
            f"training.report_to is {name}, and the package {name} is not installed ({error}): "
            f"pip install {name}, or set report_to to none"
        ) from error
