"""Where the commands keep what they fetch."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aurora_core.config import DeploymentConfig
    from aurora_core.models.target import Target


def models_folder() -> Path:
    """Folder of fetched models, unless a command is given another."""
    return Path(os.environ.get("AURORA_CACHE", Path.home() / ".cache" / "aurora")) / "models"


def resolve_target(config: "DeploymentConfig") -> "Target":
    """The target's checkpoint folder; what is not on this machine yet is fetched into the cache."""
    from aurora_core.models.source import resolve  # noqa: PLC0415 (torch and more: only where needed)

    return resolve(config.target, models_folder())
