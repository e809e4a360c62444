"""Samples as files in a folder that engine and trainer share.

A file appears by rename, so it is read completely or not at all. It stays until the trainer's pool lets go of it, so
that a trainer that is killed finds its pool again. The folder's size is bounded: what finds it full is refused.
"""

import contextlib
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from aurora_core import regular
from aurora_core.errors import SampleError, TransportError

log = logging.getLogger(__name__)

_SUFFIX, _PART = ".sample", ".part"
_MOST_DIGITS = 18
_ABANDONED_SECONDS = 3600.0
"""A part that was not touched for so long is of an engine that was killed while it wrote."""

_SKEW_SECONDS = 3600.0
"""By which two machines' clocks may differ; a file of a later time than that would never be old."""


def expire(folder: Path, max_age_seconds: float) -> int:
    """Delete all samples of a spool, also those half written, that are older, or dated later than any clock shows.

    Returns how many there were.

    Engines and the trainer both do, so that it happens wherever one of them runs.

    Raises:
        OSError: the volume fails.
    """
    if not folder.is_dir():
        return 0
    gone, now = 0, time.time()
    for entry in os.scandir(folder):
        if not entry.name.endswith((_SUFFIX, _PART)):
            continue
        with contextlib.suppress(FileNotFoundError):
            if -_SKEW_SECONDS < now - entry.stat(follow_symlinks=False).st_mtime < max_age_seconds:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
            gone += 1
    return gone


class Retention:
    """What may stay in a spool, as the engine that fills it sees it.

    Nothing older than the age limit; and nothing at all where the sample rate is 0, and was at the application before:
    capture that is only paused for a moment costs no samples.
    """

    def __init__(self, folder: Path, max_age_seconds: float, rate: Callable[[], float]) -> None:
        self._folder = folder
        self._max_age_seconds = max_age_seconds
        self._rate = rate
        self._off = False

    def apply(self) -> None:
        """Delete what may not stay.

        Raises:
            OSError: the volume fails.
        """
        before, self._off = self._off, self._rate() <= 0
        expire(self._folder, 0 if before and self._off else self._max_age_seconds)


class SpoolSink:
    """The engine's end of a spool."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def put(self, name: str, payload: bytes) -> None:
        """Write a sample as a new file."""
        # Pods share the folder, and a process id is often the same in each.
        part = self._folder / f".{uuid4().hex}{_PART}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = _files(self._folder)
            if sum(_size(path) for _, path in files) + len(payload) > self._max_bytes:
                message = f"the spool {self._folder} is at its limit of {self._max_bytes} bytes: is the trainer alive?"
                raise TransportError("spool_full", message)
            part.touch(mode=0o600)
            part.write_bytes(payload)
            newest = files[-1][0] if files else 0
            part.rename(self._folder / f"{newest + 1:012d}-{name}{_SUFFIX}")
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            message = f"cannot write to the spool {self._folder}: {error.strerror}"
            raise TransportError("spool_error", message) from error

    def close(self) -> None:
        """Nothing to release: every file was closed when it was written."""


def _files(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob(f"*{_SUFFIX}"):
        order = path.name.split("-", 1)[0]
        if order.isdecimal():
            # One that no engine counts to is none of ours: the next number would not fit into a file's name.
            found.append((int(order) if len(order) <= _MOST_DIGITS else 0, path))
    return sorted(found)


def _size(path: Path) -> int:
    """Bytes of a file; none where the other end took it away meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _age(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.lstat().st_mtime)
    except OSError:
        return 0.0


@dataclass(frozen=True)
class SpoolDelivery:
    """A file in the spool."""

    path: Path
    most_bytes: int = 1 << 34
    age_seconds: float = 0.0
    """Since it was written."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            SampleError: it is a link, a pipe, a device or a folder, or larger than any sample: none of ours.
            TransportError: the volume fails, or the file is gone.
        """
        try:
            return regular.read(self.path, self.most_bytes)
        except regular.NotRegularError as error:
            raise SampleError("not_a_file", f"{self.path}: {error.strerror}") from error
        except regular.TooLargeError as error:
            raise SampleError("too_large", f"{self.path}: {error.strerror}") from error
        except OSError as error:
            message = f"cannot read {self.path}: {error.strerror}"
            raise TransportError("spool_error", message) from error

    def done(self) -> None:
        """Delete the file; what cannot be deleted is left, and not read again by this trainer."""
        with contextlib.suppress(OSError):
            if self.path.is_dir() and not self.path.is_symlink():
                shutil.rmtree(self.path)
            else:
                self.path.unlink(missing_ok=True)


class SpoolSource:
    """The trainer's end of a spool."""

    def __init__(self, folder: Path, most_bytes: int = 1 << 34, max_age_seconds: float = math.inf) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._max_age_seconds = max_age_seconds
        self._seen: set[str] = set()
        self._failing = False
        self._swept = False

    def _sweep(self) -> None:
        """Delete what a killed engine left half-written."""
        for part in self._folder.glob(f".*{_PART}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                    part.unlink()
        self._swept = True

    def poll(self) -> Iterator[SpoolDelivery]:
        """Files that were not there at the last call; those that are too old go first.

        The first call also deletes what was left half-written.
        """
        with contextlib.suppress(OSError):
            if not self._swept:
                self._sweep()
            # A volume that fails shows where its files are listed and read.
            expire(self._folder, self._max_age_seconds)
        files = self._listed()
        if files is None:
            return
        present = {path.name for _, path in files}
        self._seen &= present
        for _, path in files:
            if path.name not in self._seen:
                self._seen.add(path.name)
                yield SpoolDelivery(path, self._most_bytes, _age(path))

    def backlog(self) -> int:
        """Files that no call has yielded yet."""
        return sum(path.name not in self._seen for _, path in self._listed() or ())

    def lost(self) -> Mapping[str, int]:
        """None: a file stays where it is until it is read."""
        return {}

    def _listed(self) -> list[tuple[int, Path]] | None:
        """The files that are there; None while the volume cannot be read, which must not end training."""
        try:
            next(self._folder.iterdir(), None)
            found = _files(self._folder)
        except FileNotFoundError:
            # Nothing was captured yet.
            found = []
        except OSError as error:
            if not self._failing:
                log.error("the spool %s cannot be listed: %s", self._folder, error.strerror)  # noqa: TRY400 (says all)
            self._failing = True
            return None
        self._failing = False
        return found

    def close(self) -> None:
        """Nothing to release: the files stay for the next trainer."""
