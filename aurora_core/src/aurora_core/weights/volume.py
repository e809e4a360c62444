"""How full the volume is that holds versions, samples and training state."""

import os
from pathlib import Path
from typing import NamedTuple

from aurora_core.errors import WeightsError


class Volume(NamedTuple):
    """Bytes of the file system below a folder."""

    free: int
    total: int


def look(root: Path) -> Volume:
    """Ask the file system.

    Raises:
        WeightsError: the folder is gone, or the file system does not answer.
    """
    try:
        # What a process may still write, not what root may.
        seen = os.statvfs(root)
        next(root.iterdir(), None)
    except OSError as error:
        message = f"the volume at {root} cannot be read: {error.strerror}"
        raise WeightsError(message) from error
    return Volume(seen.f_bavail * seen.f_frsize, seen.f_blocks * seen.f_frsize)
