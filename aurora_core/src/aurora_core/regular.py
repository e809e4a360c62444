"""Files that others may have put in place of ours: read only where they are regular, and no larger than expected."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from aurora_core import memory


class NotRegularError(OSError):
    """A link, a pipe, a device or a folder."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is no regular file")


class TooLargeError(OSError):
    """More bytes than such a file can have."""

    def __init__(self, found: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"it has {found} bytes, and can have {most} at most")


def led_to(path: Path) -> Path:
    """What a path leads to after all links, which those of a hub's cache do; it need not be there."""
    return Path(os.path.realpath(path))


def opened(path: Path, most_bytes: int) -> BufferedReader:
    """Open a file to read it.

    A pipe is opened without waiting for its writer, and a link is not followed.

    Raises:
        NotRegularError: it is none.
        TooLargeError: it is.
        OSError: it is not there, or the volume fails.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except IsADirectoryError as error:
        raise NotRegularError from error
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise NotRegularError from error
        raise
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size <= most_bytes:
        return file
    file.close()
    if not stat.S_ISREG(found.st_mode):
        raise NotRegularError
    raise TooLargeError(found.st_size, most_bytes)


def read(path: Path, most_bytes: int) -> bytes:
    """All bytes of a file, which are never more than this process has memory for.

    Raises:
        OSError: see :func:`opened`; also where it grows meanwhile.
    """
    most_bytes = min(most_bytes, memory.limit())
    with opened(path, most_bytes) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise TooLargeError(len(content), most_bytes)
    return content
