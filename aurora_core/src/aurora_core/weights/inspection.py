"""What a draft's checkpoint is, whoever wrote it, and whether it fits a target: by the rules of loading it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aurora_core.arithmetic import short_name
from aurora_core.config.algorithms import FAMILIES
from aurora_core.drafts import fit
from aurora_core.drafts.registry import family
from aurora_core.errors import WeightsError
from aurora_core.models.target import Target
from aurora_core.weights import checkpoint, verification
from aurora_core.weights.manifest import Manifest
from aurora_core.weights.signing import Signing

ANY_LAYERS = (0, 1, 2)
"""As many layers as feed a draft that names none: enough to check its tensors without a target."""


class Inspection(BaseModel):
    """What was found; what could not be read is None or empty, and ``problems`` says why.

    Attributes:
        path: the folder.
        files: bytes by name.
        algorithm: the draft family that reads it.
        layout: how its tensors are named, as its family calls that.
        config: its configuration as it is published, with what the file leaves out.
        aux_layers: the target layers that feed it; empty where it names none.
        dtypes: types of its tensors.
        tensors: how many there are.
        numbers: how many are in them.
        manifest: where it is a version that was published by this project.
        target: the target's folder, where one was given.
        problems: what keeps it from being read, or from being that target's draft.
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    files: dict[str, int]
    algorithm: str | None = None
    layout: str | None = None
    config: dict[str, Any] = {}
    aux_layers: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    tensors: int = 0
    numbers: int = 0
    manifest: Manifest | None = None
    target: str | None = None
    problems: list[str] = []


def recognised(folder: Path) -> str:
    """The algorithm of the family that reads a folder's config.json.

    Raises:
        WeightsError: none does; says what each has against it.
    """
    content, problems = checkpoint.read_config(folder), []
    for algorithm in FAMILIES:
        try:
            checkpoint.parse_config(content, algorithm, str(folder / checkpoint.CONFIG))
        except WeightsError as error:
            problems.append(str(error))
            continue
        return algorithm
    raise WeightsError("; ".join(problems))


def _sizes(folder: Path) -> dict[str, int]:
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.is_dir()]
        # Of a link to a file the file's; of one that leads nowhere its own.
        return {entry.name: (entry.stat() if entry.is_file() else entry.lstat()).st_size for entry in entries}
    except OSError as error:
        raise WeightsError(f"{folder} cannot be read as the folder of a draft: {error.strerror}") from error


def _manifest(folder: Path, signing: Signing | None) -> Manifest:
    manifest = verification.read_manifest(folder, f"{folder / verification.MANIFEST} cannot be read")
    if signing is not None:
        signing.check(manifest.checksum, manifest.signature, f"version {manifest.version}")
    verification.verify(folder, manifest)
    return manifest


def _read(found: Inspection, folder: Path, target: Target | None) -> None:
    """Fill in what the draft's own files say.

    Raises:
        WeightsError: they cannot be read, or do not fit each other.
        ConfigError: the target cannot be read, or is too small for a draft that names no layers.
    """
    found.algorithm = found.manifest.algorithm if found.manifest else recognised(folder)
    stored = checkpoint.stored(folder, found.algorithm)
    of_kind = family(found.algorithm)
    found.layout = of_kind.layout(stored.raw, tuple(stored.tensors))
    found.dtypes = tuple(sorted({short_name(tensor.dtype) for tensor in stored.tensors.values()}))
    found.tensors = len(stored.tensors)
    found.numbers = sum(tensor.numel() for tensor in stored.tensors.values())
    floating = {short_name(tensor.dtype) for tensor in stored.tensors.values() if tensor.is_floating_point()}
    found.config = stored.config.to_hf(min(floating, default="none"))
    found.aux_layers = stored.config.aux_layers
    layers = found.aux_layers
    if target is not None:
        layers = layers or of_kind.default_layers(target)
        found.problems += fit.misfits(stored.config, layers, target)
    stored.draft(layers or ANY_LAYERS)


def inspect(folder: Path, target: Target | None = None, signing: Signing | None = None) -> Inspection:
    """Read a draft as loading it does.

    Args:
        folder: its files.
        target: that it must fit; None where that is not the question.
        signing: refuses a version that is not signed as it must be.

    Raises:
        WeightsError: there is no such folder.
        ConfigError: the target cannot be read.
    """
    found = Inspection(path=str(folder), files=_sizes(folder), target=None if target is None else str(target.path))
    if verification.MANIFEST in found.files:
        try:
            found.manifest = _manifest(folder, signing)
            if target is not None:
                found.manifest.check_target(target.fingerprint)
        except WeightsError as error:
            found.problems.append(str(error))
    try:
        _read(found, folder, target)
    except WeightsError as error:
        found.problems.append(str(error))
    return found
