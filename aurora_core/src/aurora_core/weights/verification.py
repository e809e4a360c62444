"""Whether a version's folder is what its manifest says."""

import hashlib
import os
from pathlib import Path

from aurora_core import regular
from aurora_core.errors import WeightsError
from aurora_core.weights.manifest import Manifest, parse

MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 20


def sha256(path: Path, most_bytes: int) -> str:
    """Of a regular file that is no larger.

    Raises:
        OSError: it is another thing, or larger, or cannot be read.
    """
    with regular.opened(path, most_bytes) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, missing: str) -> Manifest:
    """What a version's folder says of itself; nothing else of it is read.

    Args:
        folder: of the version.
        missing: what it means that the manifest cannot be read; starts the error.

    Raises:
        WeightsError: there is no manifest, or it is damaged.
    """
    path = folder / MANIFEST
    try:
        text = regular.read(path, _MANIFEST_BYTES).decode(errors="replace")
    except regular.TooLargeError as error:
        raise WeightsError(f"{path} is no manifest: {error.strerror}") from error
    except OSError as error:
        raise WeightsError(f"{missing}: {error.strerror}") from error
    return parse(text, str(path))


def complete(folder: Path, manifest: Manifest) -> None:
    """That the folder has the files of the manifest and no other, each a file of its own.

    Raises:
        WeightsError: it has not.
    """
    version = manifest.version
    try:
        found = {entry.name for entry in folder.iterdir()} - {MANIFEST}
    except OSError as error:
        raise WeightsError(f"version {version} cannot be read: {error.strerror}") from error
    odd = {name for name in found if (folder / name).is_symlink() or not (folder / name).is_file()}
    if lacking := (manifest.files.keys() - found) | odd:
        raise WeightsError(f"version {version} lacks {', '.join(sorted(lacking))}")
    if unknown := found - manifest.files.keys():
        raise WeightsError(f"version {version} has files that its manifest does not name: {', '.join(sorted(unknown))}")


def _plausible(folder: Path, manifest: Manifest) -> None:
    """That the version is no larger than its volume: to read a sparse file to its end can take days.

    Raises:
        WeightsError: it is.
    """
    size = sum(entry.bytes for entry in manifest.files.values())
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise WeightsError(f"version {manifest.version} cannot be read: {error.strerror}") from error
    volume = found.f_blocks * found.f_frsize
    # A file system that does not say how large it is says 0.
    if volume and size > volume:
        raise WeightsError(f"version {manifest.version} has {size} bytes, and its volume {volume}")


def verify(folder: Path, manifest: Manifest) -> None:
    """Check every byte of a version.

    Raises:
        WeightsError: a file is missing, short, or not what was published.
    """
    version = manifest.version
    complete(folder, manifest)
    _plausible(folder, manifest)
    for name, entry in manifest.files.items():
        path = folder / name
        try:
            intact = path.stat().st_size == entry.bytes and sha256(path, entry.bytes) == entry.sha256
        except OSError as error:
            message = f"version {version} cannot be read: {name}: {error.strerror}"
            raise WeightsError(message) from error
        if not intact:
            message = f"version {version} is corrupt: {name} differs from its manifest"
            raise WeightsError(message)
