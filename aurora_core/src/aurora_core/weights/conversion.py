"""A draft in another software's layout: written only where reading it back gives the same draft."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from aurora_core.drafts.registry import family
from aurora_core.errors import AuroraError, WeightsError
from aurora_core.weights import checkpoint
from aurora_core.weights.checkpoint import Stored
from aurora_core.weights.inspection import ANY_LAYERS


def converted(stored: Stored, layout: str) -> Stored:
    """The same draft in another layout.

    Args:
        stored: a draft of anyone's.
        layout: one of its family's.

    Raises:
        WeightsError: the draft cannot be read, the layout cannot say what it says, or its family has no such layout.
    """
    of_kind, layers = family(stored.algorithm), stored.config.aux_layers or ANY_LAYERS
    before = stored.draft(layers)
    try:
        raw, tensors = of_kind.converted(stored.raw, stored.tensors, layout)
        # As it will be read, from text.
        raw = json.loads(json.dumps(raw))
        after = replace(stored, raw=raw, config=of_kind.read_config(raw, tensors), tensors=tensors)
    except AuroraError as error:
        raise WeightsError(f"the draft in {stored.folder} cannot be converted to {layout}: {error}") from error
    mine, its = before.state_dict(), after.draft(layers).state_dict()
    if after.config != stored.config or mine.keys() != its.keys() or not _equal(mine, its):
        raise WeightsError(f"the draft in {stored.folder} cannot be converted to {layout} without loss")
    return after


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit by bit, so that also what is not a number stays what it is."""
    return all(torch.equal(one[name].view(torch.uint8), other[name].view(torch.uint8)) for name in one)


def write(stored: Stored, folder: Path) -> None:
    """Write a draft's files as they are, into a folder that is there.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in stored.tensors.items()}
    save_file(tensors, folder / checkpoint.MODEL, metadata={"format": "pt"})
    (folder / checkpoint.CONFIG).write_text(json.dumps(stored.raw, indent=2, sort_keys=True) + "\n")
