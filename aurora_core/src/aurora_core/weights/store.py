"""A folder of immutable draft versions on a file system that several pods may share.

``versions/000012/`` appears by one rename after everything in it is on disk, so a reader sees a complete version
or none. Nothing here points at a "current" version: which version is stable or candidate is not the store's
to know. One writer at a time, which :mod:`aurora_core.weights.lease` sees to; readers need no lock. Even without it two
writers cannot mix their files: each writes in a folder of its own, and no version replaces another.
"""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from safetensors import SafetensorError

from aurora_core import memory, regular
from aurora_core.config.algorithms import DEFAULT
from aurora_core.errors import LeaseLostError, WeightsError
from aurora_core.weights import verification
from aurora_core.weights.lease import WriterLease
from aurora_core.weights.manifest import FileEntry, Manifest, Provenance
from aurora_core.weights.signing import Signing
from aurora_core.weights.verification import MANIFEST

_DIGITS = 9
"""Of a version's number at most."""
_DAMAGED = 2
_ABANDONED_SECONDS = 3600.0
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class WeightsStore:
    """Publishes, lists, verifies and prunes versions below a root folder.

    Args:
        root: the folder.
        lease: what this process must hold to publish and to delete; None where no other writer can be.
        signing: signs what is published, and refuses what is not signed; None where versions are not signed.
    """

    def __init__(self, root: Path, lease: WriterLease | None = None, signing: Signing | None = None) -> None:
        self.root = root
        self._lease = lease
        self._signing = signing
        self._versions = root / "versions"
        self._staging = root / "staging"
        self._damaged = root / "damaged"

    def folder(self, version: int) -> Path:
        """Where a version is, or would be."""
        return self._versions / f"{version:06d}"

    def versions(self) -> list[int]:
        """All complete versions, ascending."""
        if not self._versions.is_dir():
            return []
        folders = (entry for entry in self._versions.iterdir() if not entry.is_symlink())
        names = (entry.name for entry in folders if (entry / MANIFEST).is_file())
        return sorted(int(name) for name in names if name.isdecimal() and len(name) <= _DIGITS)

    def manifest(self, version: int) -> Manifest:
        """What a version says of itself.

        Raises:
            WeightsError: there is no such version, or its manifest is damaged or not signed as it must be.
        """
        folder = self.folder(version)
        manifest = verification.read_manifest(folder, f"version {version} is not in {self.root}")
        if manifest.version != version:
            message = f"{folder / MANIFEST} is the manifest of version {manifest.version}"
            raise WeightsError(message)
        if self._signing is not None:
            self._signing.check(manifest.checksum, manifest.signature, f"version {version}")
        return manifest

    def verify(self, version: int) -> Manifest:
        """Check every byte of a version against its manifest.

        Raises:
            WeightsError: a file is missing, short, or not what was published.
        """
        manifest = self.manifest(version)
        verification.verify(self.folder(version), manifest)
        return manifest

    def read(self, version: int, most_bytes: int | None = None) -> tuple[Manifest, dict[str, bytes]]:
        """A version's files in memory, verified: what was hashed is what the caller gets.

        Args:
            version: its number.
            most_bytes: of all its files; by default what this process has memory for.

        Raises:
            WeightsError: as :meth:`verify`, or it is larger.
        """
        manifest = self.manifest(version)
        size = sum(entry.bytes for entry in manifest.files.values())
        most_bytes = memory.limit() if most_bytes is None else most_bytes
        if size > most_bytes:
            raise WeightsError(f"version {version} has {size} bytes, and can have {most_bytes} at most")
        verification.complete(self.folder(version), manifest)
        contents = {}
        for name, entry in manifest.files.items():
            try:
                contents[name] = regular.read(self.folder(version) / name, entry.bytes)
            except regular.TooLargeError as error:
                raise WeightsError(f"version {version} is corrupt: {name} differs from its manifest") from error
            except OSError as error:
                raise WeightsError(f"version {version} cannot be read: {name}: {error.strerror}") from error
            if hashlib.sha256(contents[name]).hexdigest() != entry.sha256:
                raise WeightsError(f"version {version} is corrupt: {name} differs from its manifest")
        return manifest, contents

    def manifests(self) -> tuple[list[Manifest], dict[int, str]]:
        """The manifests of all versions, ascending, and what is wrong with those that have none that can be read."""
        found, damaged = [], {}
        for version in self.versions():
            try:
                found.append(self.manifest(version))
            except WeightsError as error:
                damaged[version] = str(error)
        return found, damaged

    def to_serve(self, version: int, steps: int, digest: str) -> tuple[int, int, str]:
        """What an engine starts with: the version that it should serve, or else target-only.

        Without a version that can be verified an engine cannot start with a draft at all; with another one it can serve
        target-only, and report from there what the volume has.

        Args:
            version: that it should serve.
            steps: draft steps of it.
            digest: of its manifest; empty where any is right.

        Returns:
            Version, draft steps, and why they are not what was asked for; empty where they are.

        Raises:
            WeightsError: there is no version that could be started with.
        """
        try:
            found = self.verify(version)
            if digest in {"", found.digest}:
                return version, steps, ""
            problem = f"version {version} in {self.root} is not the one that was promoted: the volume was replaced"
        except WeightsError as error:
            problem = str(error)
        for other in reversed(self.versions()):
            try:
                self.verify(other)
            except WeightsError:
                continue
            return other, 0, f"{problem}; serving target-only"
        raise WeightsError(f"{problem}, and there is no other version to start with")

    def publish(  # noqa: PLR0913 (all but the first are given by name)
        self,
        write: Callable[[Path], None],
        *,
        target_fingerprint: str,
        algorithm: str = DEFAULT,
        parent: int | None = None,
        step: int = 0,
        tokens: int = 0,
        holdout_accept_length: float | None = None,
        parent_holdout_accept_length: float | None = None,
        holdout_gain_error: float | None = None,
        provenance: Provenance = Provenance(),  # noqa: B008 (it cannot change)
        after: int = -1,
    ) -> Manifest:
        """Make the next version of what ``write`` puts into the folder it is given.

        Everything is on disk before the version appears, and a crash at any point leaves either the complete
        version or none of it.

        Args:
            write: puts the files into a folder.
            target_fingerprint: of the target that the draft is for.
            algorithm: of the draft's family.
            parent: the version that it was trained from.
            step, tokens: optimizer steps and tokens behind it.
            holdout_accept_length, parent_holdout_accept_length, holdout_gain_error: see :class:`Manifest`.
            provenance: what made it.
            after: a number that was given already, also where the volume does not have it any more.

        Raises:
            WeightsError: the disk is full or fails, or the lease is another writer's; nothing was published.
        """
        self._check_lease()
        try:
            self._clear_staging()
            version = max([after, *self.versions()]) + 1
        except OSError as error:
            message = f"nothing could be published below {self.root}: {error.strerror}"
            raise WeightsError(message) from error
        # Process ids repeat between containers.
        staged = self._staging / f"{version:06d}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            staged.mkdir(parents=True)
            self._versions.mkdir(parents=True, exist_ok=True)
            write(staged)
            files = {
                path.name: FileEntry(bytes=path.stat().st_size, sha256=verification.sha256(path, path.stat().st_size))
                for path in sorted(staged.iterdir())
            }
            manifest = Manifest(
                version=version,
                parent=parent,
                created=datetime.now(UTC),
                target_fingerprint=target_fingerprint,
                algorithm=algorithm,
                step=step,
                tokens=tokens,
                holdout_accept_length=holdout_accept_length,
                parent_holdout_accept_length=parent_holdout_accept_length,
                holdout_gain_error=holdout_gain_error,
                provenance=provenance,
                files=files,
            ).sealed()
            if self._signing is not None:
                manifest = manifest.model_copy(update={"signature": self._signing.sign(manifest.checksum)})
            (staged / MANIFEST).write_text(manifest.text())
            staged.chmod(_FOLDER_MODE)
            for path in staged.iterdir():
                # Whoever writes, readers may run as another user.
                path.chmod(_FILE_MODE)
                _fsync(path)
            _fsync(staged)
            self._check_lease()
            staged.rename(self.folder(version))
            _fsync(self._versions)
        except (OSError, SafetensorError, LeaseLostError) as error:
            shutil.rmtree(staged, ignore_errors=True)
            if isinstance(error, LeaseLostError):
                raise
            message = f"version {version} could not be published below {self.root}: {error}"
            raise WeightsError(message) from error
        return manifest

    def _check_lease(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def _clear_staging(self) -> None:
        """Remove what a killed publisher left: with the lease whatever there is, else what was not touched for long."""
        if not self._staging.is_dir():
            return
        for entry in self._staging.iterdir():
            with contextlib.suppress(OSError):
                if self._lease is None and time.time() - entry.stat().st_mtime < _ABANDONED_SECONDS:
                    continue
                # In one step out of the way of a publisher that wakes up again: what it writes then fails, where it
                # might else list a folder that is half deleted.
                gone = entry.with_name(f"gone.{os.urandom(8).hex()}")
                entry.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)

    def set_aside(self, version: int) -> None:
        """Move a version that cannot be used out of the way; the last few that were are kept for inspection.

        Raises:
            OSError: the volume fails.
        """
        self._damaged.mkdir(parents=True, exist_ok=True)
        self.folder(version).rename(self._damaged / f"{version:06d}.{os.urandom(4).hex()}")
        kept = sorted(self._damaged.iterdir(), key=lambda entry: entry.lstat().st_ctime)
        for entry in kept[:-_DAMAGED]:
            shutil.rmtree(entry, ignore_errors=True)

    def prune(self, keep: int, in_use: Iterable[int], *, first: bool = True) -> list[int]:
        """Delete all but the newest ``keep``, those in use and the first, 0; returns what was deleted.

        A deployment starts from 0, also one whose status was lost; without ``first`` it is one of the others.

        Raises:
            LeaseLostError: another writer has the lease.
            OSError: the volume fails.
        """
        self._check_lease()
        protected = {*([0] if first else ()), *self.versions()[-keep:], *in_use}
        gone = [version for version in self.versions() if version not in protected]
        for version in gone:
            folder = self.folder(version)
            # The manifest goes first: a version half deleted is no version.
            (folder / MANIFEST).unlink()
            shutil.rmtree(folder)
        return gone
