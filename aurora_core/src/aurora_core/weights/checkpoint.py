"""A draft as the folder that SGLang loads: config.json and model.safetensors. What they say, its family knows."""

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file

from aurora_core import regular
from aurora_core.arithmetic import is_finite, short_name
from aurora_core.drafts.family import CheckpointConfig, Draft
from aurora_core.drafts.published import PICKLED_WEIGHTS
from aurora_core.drafts.registry import family
from aurora_core.errors import AuroraError, ConfigError, WeightsError
from aurora_core.models import shards

CONFIG = "config.json"
MODEL = "model.safetensors"
_CONFIG_BYTES, _SHARD_BYTES = 1 << 20, 1 << 40
_MOST_TEXT = 1000
"""Characters of an error that quotes a file."""


def parts(draft: Draft, dtype: torch.dtype = torch.bfloat16) -> tuple[dict[str, torch.Tensor], str]:
    """Tensors of a draft by name, on the CPU, floating-point weights in ``dtype``, and the text of its config.json."""
    tensors = {
        name: (tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor.cpu()).contiguous()
        for name, tensor in draft.state_dict().items()
    }
    config = draft.config.to_hf(short_name(dtype))
    return tensors, json.dumps(config, indent=2, sort_keys=True) + "\n"


def write(folder: Path, draft: Draft, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a draft into an existing folder, floating-point weights in ``dtype``."""
    tensors, config = parts(draft, dtype)
    save_file(tensors, folder / MODEL, metadata={"format": "pt"})
    (folder / CONFIG).write_text(config)


def _parsed(
    content: bytes, algorithm: str, where: str, names: Collection[str] | None = None
) -> tuple[dict[str, Any], CheckpointConfig]:
    try:
        raw = json.loads(content)
        return raw, family(algorithm).read_config(raw, names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise WeightsError(f"{where} does not describe a draft of {algorithm:.60}: {error}"[:_MOST_TEXT]) from error


def parse_config(content: bytes, algorithm: str, where: str) -> CheckpointConfig:
    """What the bytes of a config.json say of a draft.

    Raises:
        WeightsError: no draft of this family that can be trained.
    """
    return _parsed(content, algorithm, where)[1]


@dataclass(frozen=True)
class Stored:
    """The files of a draft's folder, whoever wrote them.

    Attributes:
        folder: where they are.
        algorithm: of its family.
        raw: its config.json.
        config: what that says.
        tensors: by the names and in the types that they have there.
    """

    folder: Path
    algorithm: str
    raw: Mapping[str, Any]
    config: CheckpointConfig
    tensors: Mapping[str, torch.Tensor]

    @property
    def dtype(self) -> torch.dtype:
        """The one type of its floating-point weights, or fp32, which represents all that they can."""
        found = {tensor.dtype for tensor in self.tensors.values() if tensor.is_floating_point()}
        return found.pop() if len(found) == 1 else torch.float32

    def draft(self, unnamed_layers: tuple[int, ...] = ()) -> Draft:
        """The draft, weights in fp32.

        Args:
            unnamed_layers: the target layers that feed it, where its configuration names none.

        Raises:
            WeightsError: the tensors do not fit the configuration.
        """
        return _assembled(self.raw, self.tensors, self.algorithm, f"the draft in {self.folder}", unnamed_layers)


def write_new(folder: Path, write_into: Callable[[Path], None]) -> None:
    """Make a folder of a draft, which is there complete or not at all.

    Args:
        folder: must not be there, or be empty.
        write_into: puts the files into a folder.

    Raises:
        WeightsError: there is something already, or it cannot be written.
    """
    part = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.part")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise WeightsError(f"{folder} is not empty: name a new folder")
        part.mkdir(parents=True)
        write_into(part)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_config(folder: Path) -> bytes:
    """The bytes of a folder's config.json.

    Raises:
        WeightsError: there is none, or none that could be a configuration.
    """
    try:
        return regular.read(regular.led_to(folder / CONFIG), _CONFIG_BYTES)
    except OSError as error:
        raise WeightsError(f"{folder / CONFIG} cannot be read: {error.strerror}") from error


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """A folder's draft; big drafts of others come in several files. What else lies there is not the draft's."""
    single = folder / MODEL
    try:
        files = [single] if single.exists() else shards.of_index(folder, sorted(folder.glob("model-*.safetensors")))
    except ConfigError as error:
        raise WeightsError(f"the draft cannot be read: {error}") from error
    if not files:
        message = (
            f"the draft in {folder} has neither {MODEL} nor model-*.safetensors: only safetensors are read, as pickles "
            "can run code"
        )
        raise WeightsError(message)
    tensors: dict[str, torch.Tensor] = {}
    origin: dict[str, Path] = {}
    for file in files:
        try:
            # A hub's cache has links. A pipe would be waited for, and is refused.
            regular.opened(regular.led_to(file), _SHARD_BYTES).close()
            found = load_file(file)
        except Exception as error:  # files of others: whatever it is, this file is the reason
            raise WeightsError(f"{file} cannot be read, it is damaged or cut: {error}"[:_MOST_TEXT]) from error
        for name in origin.keys() & found.keys():
            raise WeightsError(f"the draft's {shards.twice(name, origin[name], file)}")
        tensors |= found
        origin |= dict.fromkeys(found, file)
    return tensors


def stored(folder: Path, algorithm: str) -> Stored:
    """Read the files of a draft's folder.

    Args:
        folder: its config.json and safetensors files.
        algorithm: of its family.

    Raises:
        WeightsError: unreadable, or no draft of this family.
    """
    for name in PICKLED_WEIGHTS:
        if (folder / name).exists():
            message = (
                f"the draft in {folder} keeps weights in {name}, a pickle: only safetensors are read, as pickles can "
                "run code, and without those weights it would compute something else"
            )
            raise WeightsError(message)
    tensors = _tensors(folder)
    raw, config = _parsed(read_config(folder), algorithm, str(folder / CONFIG), tensors)
    return Stored(folder, algorithm, raw, config, tensors)


def read(folder: Path, algorithm: str, unnamed_layers: tuple[int, ...] = ()) -> Draft:
    """Load a draft, weights in fp32: :func:`stored`, and :meth:`Stored.draft` of it.

    Raises:
        WeightsError: unreadable, no draft of this family, or tensors that do not fit the configuration.
    """
    return stored(folder, algorithm).draft(unnamed_layers)


def from_contents(contents: Mapping[str, bytes], algorithm: str, where: str) -> Draft:
    """A draft of files in memory, which nobody can change any more; weights in fp32.

    Args:
        contents: bytes by the file's name, as a store reads them.
        algorithm: of its family, as the version's manifest has it.
        where: what to call it in an error.

    Raises:
        WeightsError: as :func:`read`.
    """
    try:
        config, tensors = contents[CONFIG], load(contents[MODEL])
    except (KeyError, SafetensorError) as error:
        raise WeightsError(f"cannot load {where}: {error}") from error
    return from_parts(config, tensors, algorithm, where)


def from_parts(config: bytes, tensors: Mapping[str, torch.Tensor], algorithm: str, where: str) -> Draft:
    """The draft of :func:`parts`; arguments else and errors as of :func:`from_contents`."""
    raw, _ = _parsed(config, algorithm, f"{CONFIG} of {where}")
    return _assembled(raw, tensors, algorithm, where)


def _check_finite(draft: Draft) -> None:
    for name, weight in draft.named_parameters():
        if not is_finite(weight.detach(), torch.float64):
            raise WeightsError(f"{name} has numbers that are NaN or infinite")


def _assembled(
    raw: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    algorithm: str,
    where: str,
    unnamed_layers: tuple[int, ...] = (),
) -> Draft:
    try:
        draft: Draft = family(algorithm).assemble(raw, tensors, unnamed_layers)
        _check_finite(draft)
    except Exception as error:  # files of others: whatever does not fit is this checkpoint's own problem
        kind = "" if isinstance(error, AuroraError) else f"{type(error).__name__}: "
        raise WeightsError(f"cannot load {where}: {kind}{error}"[:_MOST_TEXT]) from error
    return draft
