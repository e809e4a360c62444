"""A draft as the folder that SGLang loads: config.json and model.safetensors."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file

from aurora_core.errors import AuroraError, ConfigError, WeightsError
from aurora_core.models import foreign
from aurora_core.models.eagle3 import Eagle3Config, Eagle3Draft

CONFIG = "config.json"
MODEL = "model.safetensors"
_MOST_TEXT = 1000
"""Characters of an error that quotes a file."""


def write(folder: Path, draft: Eagle3Draft, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a draft into an existing folder, floating-point weights in ``dtype``."""
    tensors = {
        name: (tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor.cpu()).contiguous()
        for name, tensor in draft.state_dict().items()
    }
    save_file(tensors, folder / MODEL, metadata={"format": "pt"})
    config = draft.config.to_hf(str(dtype).removeprefix("torch."))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def read_config(folder: Path) -> Eagle3Config:
    """The shape of the draft in a folder.

    Raises:
        WeightsError: unreadable, or no EAGLE3 draft that can be trained.
    """
    try:
        return parse_config((folder / CONFIG).read_bytes(), str(folder / CONFIG))
    except OSError as error:
        raise WeightsError(f"{folder / CONFIG} does not describe an EAGLE3 draft: {error}") from error


def parse_config(content: bytes, where: str) -> Eagle3Config:
    """The shape of the draft that the bytes of a config.json describe.

    Raises:
        WeightsError: no EAGLE3 draft that can be trained.
    """
    try:
        return Eagle3Config.from_hf(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise WeightsError(f"{where} does not describe an EAGLE3 draft: {error}") from error


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """A folder's draft; big drafts of others come in several files. What else lies there is not the draft's."""
    single = folder / MODEL
    shards = [single] if single.exists() else sorted(folder.glob("model-*.safetensors"))
    if not shards:
        message = f"the draft in {folder} has no .safetensors file: only safetensors are read, as pickles can run code"
        raise WeightsError(message)
    return {name: tensor for shard in shards for name, tensor in load_file(shard).items()}


def read(folder: Path, unnamed_layers: tuple[int, ...] = ()) -> Eagle3Draft:
    """Load a draft, weights in fp32.

    Args:
        folder: its config.json and safetensors files.
        unnamed_layers: the target layers that feed it, where its configuration names none.

    Raises:
        WeightsError: unreadable, or tensors that do not fit the configuration.
    """
    try:
        tensors = _tensors(folder)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot load the draft in {folder}: {error}") from error
    config = read_config(folder)
    return _assembled(
        config if config.aux_layers else replace(config, aux_layers=unnamed_layers), tensors, f"the draft in {folder}"
    )


def from_contents(contents: Mapping[str, bytes], where: str) -> Eagle3Draft:
    """A draft of files in memory, which nobody can change any more; weights in fp32.

    Args:
        contents: bytes by the file's name, as a store reads them.
        where: what to call it in an error.

    Raises:
        WeightsError: as :func:`read`.
    """
    try:
        config, tensors = contents[CONFIG], load(contents[MODEL])
    except (KeyError, SafetensorError) as error:
        raise WeightsError(f"cannot load {where}: {error}") from error
    return _assembled(parse_config(config, f"{CONFIG} of {where}"), tensors, where)


def _assembled(config: Eagle3Config, tensors: Mapping[str, torch.Tensor], where: str) -> Eagle3Draft:
    tensors = foreign.renamed(tensors)
    try:
        foreign.check_maps(tensors, config.vocab_size)
        draft = Eagle3Draft(config)
        missing, unexpected = draft.load_state_dict(tensors, strict=False)
    except Exception as error:  # files of others: whatever does not fit is this checkpoint's own problem
        kind = "" if isinstance(error, AuroraError) else f"{type(error).__name__}: "
        raise WeightsError(f"cannot load {where}: {kind}{error}"[:_MOST_TEXT]) from error
    lacking = [name for name in missing if name not in {"d2t", "t2d"}]
    # A draft over the target's full vocabulary carries no maps.
    full = draft.config.draft_vocab_size == draft.config.vocab_size
    if "d2t" in missing and not full:
        lacking.append("d2t")
    if lacking:
        head = "; a head that is shared with the target is not supported" if "lm_head.weight" in lacking else ""
        message = f"{where} lacks {', '.join(lacking)}{head}"
        raise WeightsError(message)
    if "d2t" in missing or "t2d" in missing:
        draft.set_vocabulary(torch.arange(draft.config.vocab_size) if "d2t" in missing else draft.ids.clone())
    extra = [name for name in unexpected if not name.startswith("embed_tokens")]
    if extra:
        message = f"{where} has tensors that EAGLE3 does not: {', '.join(extra)}"
        raise WeightsError(message)
    return draft
