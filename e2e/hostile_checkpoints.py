"""Checkpoints as nobody publishes them, the same for the same random numbers, and what must hold of reading them."""

import contextlib
import json
import random
import struct
from pathlib import Path
from typing import Any

import hostile_files
import torch
from aurora_core.config import DraftConfig
from aurora_core.config.algorithms import FAMILIES
from aurora_core.errors import ConfigError
from aurora_core.models import shape
from aurora_core.models.target import Target
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from aurora_core.weights.inspection import ANY_LAYERS, inspect
from safetensors.torch import load, save
from transformers import LlamaConfig, LlamaForCausalLM

CONFIG, TENSORS = "config.json", "model.safetensors"


class BrokenRuleError(Exception):
    """Something was read that should not have been, or not as it should."""


def target(folder: Path) -> Target:
    """A target of four layers, 32 wide, with 64 tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return Target(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """A checkpoint's two files by name."""
    return {name: (folder / name).read_bytes() for name in (CONFIG, TENSORS)}


def draft(folder: Path, of: Target) -> None:
    """A new draft of a target's."""
    folder.mkdir()
    checkpoint.write(folder, first_draft(DraftConfig(draft_vocab_size=40), of, 0))


def _header(payload: bytes) -> tuple[dict[str, Any], bytes]:
    size = struct.unpack("<Q", payload[:8])[0]
    return json.loads(payload[8 : 8 + size]), payload[8 + size :]


def _tensors(rng: random.Random, payload: bytes) -> bytes:
    """Another file of tensors: other bytes, another header, or numbers that are none."""
    kind = rng.random()
    if kind < 0.3:
        return hostile_files.bytes_changed(rng, payload)
    if kind < 0.6:
        header, body = _header(payload)
        text = json.dumps(hostile_files.json_changed(rng, header)).encode()
        return struct.pack("<Q", rng.choice([len(text), len(text), len(text), 2**63, 0])) + text + body
    tensors = load(payload)
    name = rng.choice(sorted(tensors))
    match rng.randrange(5):
        case 0:
            tensors[name] = torch.full_like(tensors[name].float(), rng.choice([float("nan"), float("inf"), 0.0]))
        case 1:
            tensors[name] = tensors[name].to(rng.choice([torch.float16, torch.int64, torch.bool, torch.float8_e4m3fn]))
        case 2:
            tensors[name] = tensors[name][..., :-1].contiguous()
        case 3:
            tensors[rng.choice([f"model.{name}", f"{name}_scale", "d2t", "t2d", "lm_head.bias"])] = tensors.pop(name)
        case _:
            tensors[name] = tensors[name][None].contiguous()
    changed: bytes = save(tensors)
    return changed


def change(rng: random.Random, good: dict[str, bytes], folder: Path) -> None:
    """Write one of the files differently, the other as it was."""
    files = dict(good)
    if rng.random() < 0.5:
        config = files[CONFIG]
        text = rng.random() < 0.1
        files[CONFIG] = (
            hostile_files.bytes_changed(rng, config)
            if text
            else json.dumps(hostile_files.json_changed(rng, json.loads(config))).encode()
        )
    else:
        files[TENSORS] = _tensors(rng, files[TENSORS])
    for name, content in files.items():
        (folder / name).write_bytes(content)


def read_draft(folder: Path, target: Target) -> str:
    """Read a draft as the command line and loading do; returns what became of it.

    Raises:
        BrokenRuleError: something else than a draft was read.
    """
    found = inspect(folder, target)
    found.model_dump_json()
    if found.problems:
        return "drafts refused"
    draft = checkpoint.read(folder, found.algorithm or "", found.aux_layers or ANY_LAYERS)
    if not all(torch.isfinite(tensor).all() for tensor in draft.state_dict().values() if tensor.is_floating_point()):
        raise BrokenRuleError("a draft with numbers that are not finite was read")
    return "drafts read"


def read_target(folder: Path) -> str:
    """Read what training reads of a target; returns what became of it.

    Raises:
        BrokenRuleError: something else than a target was read.
    """
    try:
        return _read_target(Target(folder))
    except ConfigError:
        return "targets refused"


def _read_target(target: Target) -> str:
    expected = (target.vocab_size, target.hidden_size)
    if not target.fingerprint or target.num_layers < 1:
        raise BrokenRuleError("a target without identity or layers was read")
    shape.attention(target), shape.mlp_width(target), shape.rope(target)
    logits = target.logits(target.final_norm(torch.ones(2, target.hidden_size)))
    if tuple(target.lm_head.shape) != expected or tuple(target.embedding.shape) != expected:
        raise BrokenRuleError("a head or an embedding of another size was read")
    if not torch.isfinite(logits).all():
        # What the head's check refuses with the first samples.
        return "targets refused"
    for algorithm in FAMILIES:
        with contextlib.suppress(ConfigError):
            first_draft(DraftConfig(algorithm=algorithm, draft_vocab_size=min(40, target.vocab_size)), target, 0)
    return "targets read"
