"""One writer of a volume, enforced: a lease in numbered files, the highest of which has the volume.

A lock of the operating system does not reach far enough: over NFS and some CSI drivers it is local to a node, or ends
with a fault of the network unnoticed. So a writer renews a file of its own, and another one takes over by creating the
file with the next number, which exactly one process can. It does so where it saw the last one unchanged for longer than
a holder goes without renewing it, where the holder released it, or where the holder was a process of this very host
that is gone, which the lock does show. Only durations of one's own clock are compared: those of hosts may differ.

A holder checks the highest number before it makes anything visible, also after it stood still, and never writes again
once that is another's.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Self
from uuid import uuid4

from aurora_core.errors import LeaseLostError, WeightsError

log = logging.getLogger(__name__)

RENEW_SECONDS = 5.0
FENCE_SECONDS = 20.0
"""A holder that did not renew for so long renews before it writes: what it has listed may be from before a takeover."""
TAKEOVER_SECONDS = 40.0
"""A lease that did not change for so long has no holder any more; well beyond :data:`FENCE_SECONDS`."""
PATIENCE_SECONDS = 180.0
"""A volume whose lease another writer renews for so long has another writer for good, which a person must decide."""

_NAME = re.compile(r"^writer-([0-9]{8})\.json$")
_LOCK = "writer.lock"
_MOST_BYTES = 4096


def _this_host() -> str:
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        kernel = ""
    return f"{socket.gethostname()}/{kernel}"


class WriterLease:
    """The right to write on a volume; a context manager that waits for it, renews it and releases it."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "",
        clock: Callable[[], float] = time.monotonic,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Name the lease; nothing is taken yet.

        Args:
            folder: on the volume that it is about.
            host: what processes have in common that see each other's locks; by default the kernel and the host's name.
            clock: seconds that only rise.
            on_lost: called once, from another thread, when another writer has taken over.
        """
        self._folder = folder
        self._named_host = host
        self._process = uuid4().hex
        self._clock = clock
        self._on_lost = on_lost
        self._number: int | None = None
        self._beat = 0
        self._renewed = 0.0
        self._lock: int | None = None
        self._foreign: tuple[int, bytes, float] | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @cached_property
    def _host(self) -> str:
        return self._named_host or _this_host()

    # --- taking ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Wait until the lease is this process's, then keep it renewed.

        Raises:
            WeightsError: another writer keeps it, or the volume cannot be written.
        """
        started, waits = self._clock(), False
        while not self.take():
            if self._clock() - started > PATIENCE_SECONDS:
                raise WeightsError(
                    f"another trainer writes on this volume and renews its lease in {self._folder}: "
                    "give each deployment a claim of its own, or end the other trainer"
                )
            if not waits:
                log.info("waiting for the lease in %s: another trainer writes, or ended a moment ago", self._folder)
            waits = True
            self._ended.wait(1.0)
        self._thread = threading.Thread(target=self._keep, name="aurora-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Release it, so that the next writer need not wait."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.release()

    def take(self) -> bool:
        """Take the lease if nobody has it.

        Raises:
            WeightsError: the volume cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            locked = self._try_lock()
            if locked is None:
                return False
            number = self._highest()
            if number is not None and not self._is_free(number, locked=locked):
                return False
            made = self._create(0 if number is None else number + 1)
        except OSError as error:
            raise WeightsError(f"the lease in {self._folder} cannot be taken: {error.strerror}") from error
        if made:
            self._clear()
        return made

    def _try_lock(self) -> bool | None:
        """True: no other process of this host has the lease; None: one has; False: this file system has no locks."""
        if self._lock is not None:
            return True
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _highest(self) -> int | None:
        numbers = [int(found[1]) for entry in os.scandir(self._folder) if (found := _NAME.match(entry.name))]
        return max(numbers, default=None)

    def _is_free(self, number: int, *, locked: bool) -> bool:
        content = self._content(number)
        try:
            record = json.loads(content)
            host, released = str(record["host"]), bool(record["released"])
        except (ValueError, KeyError, TypeError, RecursionError):
            # What cannot be read is treated like a holder that says nothing: waited for.
            host, released = "", False
        if released or (locked and host == self._host):
            return True
        now = self._clock()
        if self._foreign is None or self._foreign[:2] != (number, content):
            self._foreign = (number, content, now)
        return now - self._foreign[2] > TAKEOVER_SECONDS

    def _content(self, number: int) -> bytes:
        try:
            descriptor = os.open(self._path(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            return file.read(_MOST_BYTES)

    def _path(self, number: int) -> Path:
        return self._folder / f"writer-{number:08d}.json"

    def _create(self, number: int) -> bool:
        """Create the file with this number, which of all processes on all hosts exactly one can."""
        part = self._part(released=False)
        try:
            # A link is exclusive on every file system, and appears with its content.
            os.link(part, self._path(number))
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        self._number, self._renewed = number, self._clock()
        return True

    def _clear(self) -> None:
        for entry in os.scandir(self._folder):
            found = _NAME.match(entry.name)
            if found and self._number is not None and int(found[1]) < self._number:
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()

    def _part(self, *, released: bool) -> Path:
        self._beat += 1
        record = {"host": self._host, "process": self._process, "beat": self._beat, "released": released}
        part = self._folder / f".{uuid4().hex}.part"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:  # noqa: PTH123
            file.write(json.dumps(record))
            file.flush()
            os.fsync(file.fileno())
        return part

    # --- keeping ---------------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Say that this process still writes.

        Raises:
            LeaseLostError: another one took over.
            OSError: the volume fails; the lease is kept until :data:`FENCE_SECONDS` after the last renewal.
        """
        number = self._mine()
        self._part(released=False).rename(self._path(number))
        self._renewed = self._clock()

    def check(self) -> None:
        """To be called right before anything becomes visible on the volume.

        Raises:
            LeaseLostError: another writer took over.
            WeightsError: that cannot be ruled out, as the volume fails.
        """
        try:
            if self._clock() - self._renewed > FENCE_SECONDS:
                self.renew()
            self._mine()
        except OSError as error:
            raise WeightsError(f"the lease in {self._folder} cannot be checked: {error.strerror}") from error

    def _mine(self) -> int:
        if self._number is None:
            raise LeaseLostError(f"the lease in {self._folder} is not held")
        highest = self._highest()
        # Without any, the volume was emptied under this process, and another one need not be there.
        if highest is not None and highest != self._number:
            raise LeaseLostError(f"another trainer took over the volume of {self._folder}: this one writes no more")
        return self._number

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                self.renew()
            except LeaseLostError as error:
                log.error("%s", error)  # noqa: TRY400 (says all there is)
                self._on_lost()
                return
            except OSError as error:
                log.warning("the lease in %s cannot be renewed: %s", self._folder, error.strerror)

    def release(self) -> None:
        """Give it back; what fails then only makes the next writer wait."""
        if self._number is not None:
            with contextlib.suppress(OSError, LeaseLostError):
                self._part(released=True).rename(self._path(self._mine()))
            self._number = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
