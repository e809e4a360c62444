"""How much memory this process may use: a larger file is never one of ours, and is not read."""

import functools
import os
from pathlib import Path

_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def _stated(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


@functools.cache
def limit() -> int:
    """Bytes of the container's limit, or of the machine where there is none."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *(found for path in _CONTAINER if (found := _stated(path)))])
