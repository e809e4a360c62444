"""What promotion decided, kept on the volume with the versions that it is about.

The status of the resource is where the pointers live; but a status can be lost (the resource was deleted and applied
again, restored from a backup, or replaced) while the volume and its versions stay. The operator has an agent keep this
copy, and reads it back where a resource has no status of its own.
"""

import os
from pathlib import Path

from aurora_core import regular
from aurora_core.errors import WeightsError
from aurora_core.protocol.agent import Record

FILE = "promotion.json"
_MOST_BYTES = 65536


def read(folder: Path) -> Record | None:
    """The record in a folder, or None where there is none.

    Raises:
        WeightsError: there is a file, and it is none.
    """
    path = folder / FILE
    try:
        return Record.model_validate_json(regular.read(path, _MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({type(error).__name__})") from error


def write(folder: Path, record: Record) -> None:
    """Replace the record; a reader sees the old one or the new one.

    Raises:
        WeightsError: the volume is full or fails.
    """
    part = folder / f"{FILE}.{os.getpid()}.{os.urandom(4).hex()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("w") as file:
            file.write(record.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / FILE)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{folder / FILE} cannot be written: {error.strerror}") from error
