"""A version in memory, and whether an engine that drafts with one can change to another without a restart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from aurora_core.drafts.family import CheckpointConfig, Draft
from aurora_core.errors import WeightsError
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore

_WIDEST_BYTES, _OTHER_BYTES = 8, 16 << 20
"""Of an element of a tensor, and of all else that a version has."""


@dataclass(frozen=True)
class Loaded:
    """A draft as an engine loads it.

    Attributes:
        version: its number.
        algorithm: of its family.
        config: of its checkpoint.
        tensors: by the checkpoint's names.
    """

    version: int
    algorithm: str
    config: CheckpointConfig
    tensors: Mapping[str, Tensor]

    @property
    def most_bytes(self) -> int:
        """The most bytes of any version with these tensors, in any type: a larger one is not read in its place."""
        elements = sum(tensor.numel() for tensor in self.tensors.values())
        return elements * _WIDEST_BYTES + _OTHER_BYTES

    @classmethod
    def of(cls, draft: Draft, version: int) -> Self:
        """A draft that is no version yet, but could be this one."""
        return cls(version, draft.algorithm, draft.config, draft.state_dict())

    def check(self, live: "Loaded", name: str) -> None:
        """Refuse what does not fit an engine, in the shape and on the layers that it was started with.

        Args:
            live: what the engine drafts with.
            name: of this draft, in errors.

        Raises:
            WeightsError: says what differs.
        """
        if self.algorithm != live.algorithm:
            raise WeightsError(f"{name} is a draft of {self.algorithm}, and this engine runs {live.algorithm}")
        if self.config != live.config:
            old, new = live.config.to_hf(""), self.config.to_hf("")
            changed = ", ".join(f"{k}: {old[k]} -> {new[k]}" for k in old if old[k] != new[k])
            raise WeightsError(f"{name} differs in {changed}; only a restart of the engine can change that")
        shapes = {name: tuple(tensor.shape) for name, tensor in live.tensors.items()}
        if {name: tuple(tensor.shape) for name, tensor in self.tensors.items()} != shapes:
            raise WeightsError(f"{name} has other tensors than the running draft")


def read(store: WeightsStore, version: int, target: str, most_bytes: int | None = None) -> Loaded:
    """Verify a version and read it into memory.

    Raises:
        WeightsError: it is missing, corrupt, larger than that, or made for another target than this fingerprint's.
    """
    manifest, contents = store.read(version, most_bytes)
    manifest.check_target(target)
    try:
        tensors = load(contents[checkpoint.MODEL])
        config = contents[checkpoint.CONFIG]
    except (KeyError, SafetensorError) as error:
        raise WeightsError(f"version {version} cannot be read: {error}") from error
    read_config = checkpoint.parse_config(config, manifest.algorithm, f"{checkpoint.CONFIG} of version {version}")
    return Loaded(version, manifest.algorithm, read_config, tensors)
