"""A draft as the folder that SGLang loads: config.json and model.safetensors. What they say, its family knows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file

from aurora_core.drafts.family import CheckpointConfig, Draft
from aurora_core.drafts.registry import family
from aurora_core.errors import AuroraError, ConfigError, WeightsError

CONFIG = "config.json"
MODEL = "model.safetensors"
_MOST_TEXT = 1000
"""Characters of an error that quotes a file."""


def write(folder: Path, draft: Draft, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a draft into an existing folder, floating-point weights in ``dtype``."""
    tensors = {
        name: (tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor.cpu()).contiguous()
        for name, tensor in draft.state_dict().items()
    }
    save_file(tensors, folder / MODEL, metadata={"format": "pt"})
    config = draft.config.to_hf(str(dtype).removeprefix("torch."))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _parsed(content: bytes, algorithm: str, where: str) -> tuple[dict[str, Any], CheckpointConfig]:
    try:
        raw = json.loads(content)
        return raw, family(algorithm).read_config(raw)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise WeightsError(f"{where} does not describe a draft of {algorithm:.60}: {error}"[:_MOST_TEXT]) from error


def parse_config(content: bytes, algorithm: str, where: str) -> CheckpointConfig:
    """What the bytes of a config.json say of a draft.

    Raises:
        WeightsError: no draft of this family that can be trained.
    """
    return _parsed(content, algorithm, where)[1]


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """A folder's draft; big drafts of others come in several files. What else lies there is not the draft's."""
    single = folder / MODEL
    shards = [single] if single.exists() else sorted(folder.glob("model-*.safetensors"))
    if not shards:
        message = f"the draft in {folder} has no .safetensors file: only safetensors are read, as pickles can run code"
        raise WeightsError(message)
    return {name: tensor for shard in shards for name, tensor in load_file(shard).items()}


def read(folder: Path, algorithm: str, unnamed_layers: tuple[int, ...] = ()) -> Draft:
    """Load a draft, weights in fp32.

    Args:
        folder: its config.json and safetensors files.
        algorithm: of its family.
        unnamed_layers: the target layers that feed it, where its configuration names none.

    Raises:
        WeightsError: unreadable, no draft of this family, or tensors that do not fit the configuration.
    """
    path = folder / CONFIG
    try:
        tensors = _tensors(folder)
        content = path.read_bytes()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot load the draft in {folder}: {error}") from error
    raw, _ = _parsed(content, algorithm, str(path))
    return _assembled(raw, tensors, algorithm, f"the draft in {folder}", unnamed_layers)


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
    raw, _ = _parsed(config, algorithm, f"{CONFIG} of {where}")
    return _assembled(raw, tensors, algorithm, where)


def _assembled(
    raw: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    algorithm: str,
    where: str,
    unnamed_layers: tuple[int, ...] = (),
) -> Draft:
    try:
        draft: Draft = family(algorithm).assemble(raw, tensors, unnamed_layers)
    except Exception as error:  # files of others: whatever does not fit is this checkpoint's own problem
        kind = "" if isinstance(error, AuroraError) else f"{type(error).__name__}: "
        raise WeightsError(f"cannot load {where}: {kind}{error}"[:_MOST_TEXT]) from error
    return draft
