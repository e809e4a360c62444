"""What is read of a target's checkpoint: its shape, its head and embedding, and a fingerprint of its identity."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from aurora_core.errors import ConfigError

_EMBEDDING = ("model.embed_tokens.weight", "language_model.model.embed_tokens.weight", "embed_tokens.weight")
_LM_HEAD = ("lm_head.weight", "language_model.lm_head.weight")
_EDGE = 1 << 20


@dataclass(frozen=True)
class Target:
    """A target's checkpoint folder."""

    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The text model's part of config.json."""
        try:
            raw: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        except (OSError, ValueError) as error:
            message = f"{self.path} is no checkpoint folder (config.json: {error}): name a downloaded model's folder"
            raise ConfigError(message) from error
        text: dict[str, Any] = raw.get("text_config", raw)
        return text

    @property
    def hidden_size(self) -> int:
        """Width of the target."""
        return int(self.config["hidden_size"])

    @property
    def num_layers(self) -> int:
        """Decoder layers of the target."""
        return int(self.config["num_hidden_layers"])

    @property
    def vocab_size(self) -> int:
        """Tokens of the target."""
        return int(self.config["vocab_size"])

    def default_aux_layers(self) -> tuple[int, int, int]:
        """The layers whose outputs feed a new draft: an early one, the middle, a late one."""
        return 2, self.num_layers // 2, self.num_layers - 3

    def unnamed_aux_layers(self) -> tuple[int, int, int]:
        """The layers whose outputs SGLang gives to a checkpoint that names none: the inputs of layers 2, n/2, n-3."""
        return 1, self.num_layers // 2 - 1, self.num_layers - 4

    def _shards(self) -> list[Path]:
        shards = sorted(self.path.glob("*.safetensors"))
        if not shards:
            message = f"{self.path} has no .safetensors file: only safetensors checkpoints are read"
            raise ConfigError(message)
        return shards

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the target: sha256 over its shape, every shard's header and size, and the shards' edges.

        Hidden states are only meaningful with the weights that made them, so samples and drafts carry this.
        """
        digest = hashlib.sha256()
        shape = {key: self.config.get(key) for key in ("hidden_size", "num_hidden_layers", "vocab_size", "model_type")}
        digest.update(json.dumps(shape, sort_keys=True).encode())
        for shard in self._shards():
            with shard.open("rb") as file:
                size = shard.stat().st_size
                header = int.from_bytes(file.read(8), "little")
                digest.update(f"{size}:{header}".encode())
                digest.update(file.read(header + _EDGE))
                file.seek(max(0, size - _EDGE))
                digest.update(file.read())
        return digest.hexdigest()[:32]

    def _read(self, names: tuple[str, ...]) -> Tensor | None:
        for shard in self._shards():
            with safe_open(shard, framework="pt") as tensors:
                for name in names:
                    if name in tensors.keys():  # noqa: SIM118 (safe_open is no mapping)
                        tensor: Tensor = tensors.get_tensor(name)
                        return tensor
        return None

    def tensor(self, name: str) -> Tensor | None:
        """A tensor of the checkpoint by name, or None."""
        return self._read((name,))

    @cached_property
    def embedding(self) -> Tensor:
        """[vocab, hidden], in the checkpoint's dtype."""
        tensor = self._read(_EMBEDDING)
        if tensor is None:
            message = f"{self.path} has no embedding under any of {', '.join(_EMBEDDING)}"
            raise ConfigError(message)
        return tensor

    @cached_property
    def lm_head(self) -> Tensor:
        """[vocab, hidden], in the checkpoint's dtype; the embedding where the two are tied."""
        tensor = self._read(_LM_HEAD)
        return self.embedding if tensor is None else tensor

    def head_rows(self, ids: Tensor) -> Tensor:
        """The head's rows for target token ids [draft vocab], fp32 [draft vocab, hidden]."""
        return self.lm_head[ids].to(torch.float32)
