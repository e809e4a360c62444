"""What is read of a target's checkpoint: its shape, its head, embedding and norms, and a fingerprint of its identity.

Names and rules are those of its family (:mod:`aurora_core.models.families`).
"""

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import CONFIG_MAPPING, PretrainedConfig

from aurora_core import regular
from aurora_core.errors import ConfigError
from aurora_core.models import quantised, shards
from aurora_core.models.families import Family, family, text_of

_EDGE = 1 << 20
_COUNTS = (
    "hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "num_key_value_heads", "head_dim",
    "intermediate_size", "max_position_embeddings",
)  # fmt: skip
"""What a configuration counts by, where it has it at all."""
_COUNTLESS = 2**31
"""No model has as many of anything; larger sizes are none to torch."""
_CONFIG_BYTES, _SHARD_BYTES = 1 << 24, 1 << 44


@contextmanager
def _opened(shard: Path) -> Iterator[Any]:
    """A safetensors file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        # A pipe would be waited for, and is refused.
        regular.opened(regular.led_to(shard), _SHARD_BYTES).close()
        with safe_open(shard, framework="pt") as tensors:
            yield tensors
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{shard} cannot be read, it is damaged or cut: {error}; fetch it again") from error


@dataclass(frozen=True)
class Target:
    """A target's checkpoint folder."""

    path: Path

    @cached_property
    def _raw(self) -> dict[str, Any]:
        try:
            raw: dict[str, Any] = json.loads(regular.read(regular.led_to(self.path / "config.json"), _CONFIG_BYTES))
            text_of(raw).keys()
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            message = f"{self.path} is no checkpoint folder (config.json: {error}): name a downloaded model's folder"
            raise ConfigError(message) from error
        return raw

    @property
    def config(self) -> dict[str, Any]:
        """The text model's part of config.json, as it stands there."""
        return text_of(self._raw)

    @cached_property
    def family(self) -> Family:
        """How this checkpoint is read.

        Raises:
            ConfigError: its architecture is not known.
        """
        return family(self._raw)

    @cached_property
    def shape(self) -> PretrainedConfig:
        """The text model's configuration with what transformers fills in.

        Raises:
            ConfigError: its architecture is not known, or it is at odds with itself.
        """
        given = {key: value for key, value in self.config.items() if value is not None}
        given.pop("model_type", None)
        try:
            found: PretrainedConfig = CONFIG_MAPPING[self.family.model_type](**copy.deepcopy(given))
        except ConfigError:
            raise
        except Exception as error:
            # Written by others and checked by transformers, which raises whatever it meets.
            message = f"{self.path / 'config.json'} is no {self.family.model_type} configuration: {error}"
            raise ConfigError(message) from error
        for name in _COUNTS:
            value = getattr(found, name, None)
            if value is not None and not (isinstance(value, int) and 0 < value < _COUNTLESS):
                message = f"{name} is {value!r:.60}, not an integer above 0 and below {_COUNTLESS}"
                raise ConfigError(f"{self.path / 'config.json'}: {message}")
        return found

    @property
    def hidden_size(self) -> int:
        """Width of the target."""
        return int(self.shape.hidden_size)

    @property
    def num_layers(self) -> int:
        """Decoder layers of the target."""
        return int(self.shape.num_hidden_layers)

    @property
    def vocab_size(self) -> int:
        """Tokens of the target."""
        return int(self.shape.vocab_size)

    @property
    def soft_cap(self) -> float | None:
        """The target's logits are ``cap * tanh(x / cap)`` of its head's product x; None where they are x.

        Raises:
            ConfigError: the configuration has something else than a number above 0.
        """
        cap = getattr(self.shape, "final_logit_softcapping", None)
        if not cap:
            return None
        if not isinstance(cap, int | float) or not 0 < cap < float("inf"):
            raise ConfigError(f"{self.path / 'config.json'}: final_logit_softcapping is {cap!r:.60}, not above 0")
        return float(cap)

    @property
    def embedding_scale(self) -> float:
        """What the target multiplies rows of its embedding by; SGLang gives drafts the rows without it."""
        return float(self.hidden_size**0.5) if self.family.embedding_scaled else 1.0

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

        Raises:
            ConfigError: a file is missing, cut or cannot be read.
        """
        digest = hashlib.sha256()
        shape = {key: self.config.get(key) for key in ("hidden_size", "num_hidden_layers", "vocab_size", "model_type")}
        digest.update(json.dumps(shape, sort_keys=True).encode())
        for shard in self._shards():
            try:
                with regular.opened(regular.led_to(shard), _SHARD_BYTES) as file:
                    size = os.fstat(file.fileno()).st_size
                    header = int.from_bytes(file.read(8), "little")
                    if header > size:
                        raise ConfigError(f"{shard} is damaged or cut: fetch it again")
                    digest.update(f"{size}:{header}".encode())
                    digest.update(file.read(header + _EDGE))
                    file.seek(max(0, size - _EDGE))
                    digest.update(file.read())
            except OSError as error:
                raise ConfigError(f"{shard} cannot be read: {error.strerror}") from error
        return digest.hexdigest()[:32]

    @cached_property
    def _index(self) -> dict[str, Path]:
        """The file of each tensor."""
        index: dict[str, Path] = {}
        for shard in shards.of_index(self.path, self._shards()):
            with _opened(shard) as tensors:
                for name in tensors.keys():  # noqa: SIM118 (safe_open is no mapping)
                    if name in index:
                        raise shards.twice(name, index[name], shard)
                    index[name] = shard
        return index

    def _stored(self, name: str) -> Tensor | None:
        if name not in self._index:
            return None
        with _opened(self._index[name]) as tensors:
            tensor: Tensor = tensors.get_tensor(name)
        return tensor

    def _tensor(self, name: str) -> Tensor | None:
        quantisation = self._raw.get("quantization_config") or self.config.get("quantization_config")
        try:
            return quantised.read(name, self._stored, quantised.block(quantisation))
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from error

    @cached_property
    def _prefix(self) -> str:
        """What stands before the names of the text model's tensors."""
        for prefix in self.family.prefixes:
            if f"{prefix}norm.weight" in self._index:
                return prefix
        names = ", ".join(f"{prefix}norm.weight" for prefix in self.family.prefixes)
        raise ConfigError(f"{self.path} has no final norm under {names}")

    def tensor(self, name: str) -> Tensor | None:
        """A tensor of the text model, such as ``layers.0.mlp.up_proj.weight``; None where there is none.

        Returns:
            The numbers that it stands for, with the scales of a quantised one applied: bf16, fp16 or fp32.

        Raises:
            ConfigError: it is quantised in a way that is not read here.
        """
        return self._tensor(self._prefix + name)

    def norm_weight(self, name: str) -> Tensor | None:
        """What a norm multiplies by, such as ``norm`` or ``layers.0.input_layernorm``, fp32 [width]."""
        stored = self.tensor(f"{name}.weight")
        return None if stored is None else stored.to(torch.float32) + self.family.norm_offset

    def final_norm(self, hidden: Tensor) -> Tensor:
        """The last layer's output [..., hidden] after the norm that the head reads through.

        Raises:
            ConfigError: the norm is not there, of another size, or adds something else than a number above 0.
        """
        weight = self.norm_weight("norm")
        size = None if weight is None else list(weight.shape)
        if weight is None or size != [self.hidden_size]:
            raise ConfigError(f"{self.path}: norm is {size}, and config.json says [{self.hidden_size}]")
        added = getattr(self.shape, "rms_norm_eps", None)
        if isinstance(added, bool) or not isinstance(added, int | float) or not 0 < added < 1:
            raise ConfigError(f"{self.path / 'config.json'}: rms_norm_eps is {added!r:.60}, not above 0 and below 1")
        return F.rms_norm(hidden, (self.hidden_size,), weight.to(hidden), float(added))

    def _of_vocabulary(self, name: str) -> Tensor | None:
        tensor = self._tensor(name)
        shape = (self.vocab_size, self.hidden_size)
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ConfigError(f"{self.path}: {name} is {list(tensor.shape)}, and config.json says {list(shape)}")
        return tensor

    @cached_property
    def embedding(self) -> Tensor:
        """[vocab, hidden], in the checkpoint's dtype.

        Raises:
            ConfigError: it is not there, of another size, or quantised in a way that is not read here.
        """
        for prefix in self.family.prefixes:
            tensor = self._of_vocabulary(f"{prefix}embed_tokens.weight")
            if tensor is not None:
                return tensor
        names = ", ".join(f"{prefix}embed_tokens.weight" for prefix in self.family.prefixes)
        raise ConfigError(f"{self.path} has no embedding under {names}")

    @property
    def tied(self) -> bool:
        """Whether the embedding is the head too: then a head in the files is none that SGLang serves with."""
        says = self._raw if self.family.tied_by_wrapper else self.config
        return bool(says.get("tie_word_embeddings", getattr(self.shape, "tie_word_embeddings", False)))

    @cached_property
    def lm_head(self) -> Tensor:
        """[vocab, hidden], in the checkpoint's dtype; the embedding where the two are tied.

        Raises:
            ConfigError: as for the embedding.
        """
        if self.tied:
            return self.embedding
        for name in self.family.heads:
            tensor = self._of_vocabulary(name)
            if tensor is not None:
                return tensor
        message = (
            f"{self.path} has no head under {', '.join(self.family.heads)}, "
            "and its config.json does not say that head and embedding are one (tie_word_embeddings)"
        )
        raise ConfigError(message)

    def logits(self, last: Tensor) -> Tensor:
        """The target's logits, fp32 [..., vocab], of its last hidden states after the final norm, [..., hidden]."""
        return capped(F.linear(last.to(torch.float32), self.lm_head.to(torch.float32)), self.soft_cap)

    def head_rows(self, ids: Tensor) -> Tensor:
        """The head's rows for target token ids [draft vocab], fp32 [draft vocab, hidden]."""
        return self.lm_head[ids].to(torch.float32)


def capped(logits: Tensor, cap: float | None) -> Tensor:
    """Logits after a soft-cap, which bounds them by plus and minus ``cap``."""
    return logits if cap is None else cap * torch.tanh(logits / cap)
