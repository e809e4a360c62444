"""The secret that decides which samples are held out; without it a client could choose its requests' side."""

import contextlib
import os
from pathlib import Path
from uuid import uuid4

from aurora_core import regular
from aurora_core.errors import WeightsError

FILE = "holdout.salt"
_BYTES = 32


def salt(folder: Path) -> bytes:
    """The salt of a deployment's training state; made at its first use, and again where it is damaged.

    Raises:
        WeightsError: the volume fails.
    """
    path, part = folder / FILE, folder / f".{uuid4().hex}.part"
    try:
        with contextlib.suppress(OSError):
            if len(found := regular.read(path, _BYTES)) == _BYTES:
                return found
        folder.mkdir(parents=True, exist_ok=True)
        made = os.urandom(_BYTES)
        part.touch(mode=0o600)
        part.write_bytes(made)
        part.rename(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read or made: {error.strerror}") from error
    return made
