"""How full the volume of versions, samples and training state is."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from aurora_core.errors import WeightsError
from aurora_core.protocol.agent import Volume


def measure(root: Path) -> Volume:
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
    return Volume(free=seen.f_bavail * seen.f_frsize, total=seen.f_blocks * seen.f_frsize)


class Probe:
    """Probes a volume for callers who must not wait for one that hangs, as a lost NFS server's does.

    However many read, one thread at most is stuck in it.
    """

    def __init__(self, root: Path, patience: float = 1.0, read: Callable[[Path], Volume] = measure) -> None:
        self._root = root
        self._patience = patience
        self._read = read
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="volume")
        self._lock = Lock()
        self._pending: Future[Volume] | None = None

    def measure(self) -> Volume:
        """The volume now.

        Raises:
            WeightsError: it cannot be read, or did not answer in ``patience`` seconds.
        """
        with self._lock:
            if self._pending is None or self._pending.done():
                self._pending = self._pool.submit(self._read, self._root)
            pending = self._pending
        try:
            return pending.result(self._patience)
        except TimeoutError as error:
            message = f"the volume at {self._root} has not answered for {self._patience:g} s"
            raise WeightsError(message) from error
