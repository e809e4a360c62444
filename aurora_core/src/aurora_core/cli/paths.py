"""Where the commands keep what they fetch."""

import os
from pathlib import Path


def models_folder() -> Path:
    """Folder of fetched models, unless a command is given another."""
    return Path(os.environ.get("AURORA_CACHE") or Path.home() / ".cache" / "aurora") / "models"
