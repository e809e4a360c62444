"""How often each token of a target occurs in text, or was counted elsewhere."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from aurora_core import regular
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target

_COUNTS_BYTES = 1 << 28
_MOST = 2**53
"""Tokens that are counted at most, so that every JSON number and sum is exact."""


def _entry(name: str, count: object, vocab_size: int) -> tuple[int, int]:
    if not (name.isascii() and name.isdecimal() and len(name) < 11 and int(name) < vocab_size):  # noqa: PLR2004
        raise ConfigError(f"{name!r:.40} is no token: they are 0 to {vocab_size - 1}")
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < _MOST:
        raise ConfigError(f"the count of token {name} is {count!r:.40}: expected an integer from 0")
    return int(name), count


def of_json(content: bytes, vocab_size: int) -> Tensor:
    """Counts that were written elsewhere, int64 [vocab]: a JSON object of token ids and integers.

    Raises:
        ConfigError: it is another thing; says what is wrong.
    """
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is not JSON: {error!s:.200}") from error
    if not isinstance(raw, dict):
        raise ConfigError('expected a JSON object of token ids and counts, such as {"17": 4021}')
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for name, count in raw.items():
        token, number = _entry(name, count, vocab_size)
        counts[token] += number
    if sum(raw.values()) >= _MOST:
        raise ConfigError("the counts add up to more than can be compared: divide all of them")
    return counts


def read(path: Path, vocab_size: int) -> Tensor:
    """Counts of a file, see :func:`of_json`.

    Raises:
        ConfigError: it cannot be read, or has no counts.
    """
    try:
        return of_json(regular.read(regular.led_to(path), _COUNTS_BYTES), vocab_size)
    except OSError as error:
        raise ConfigError(f"cannot read the counts {path}: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def of_texts(texts: Sequence[str], target: Target) -> Tensor:
    """How often the target's tokenizer finds each token in some texts, int64 [vocab].

    Raises:
        ConfigError: the target has no tokenizer that can be read, or one of another vocabulary.
    """
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(target.path, local_files_only=True, trust_remote_code=False)
        found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    except Exception as error:  # files of others, read by transformers, which raises whatever it meets
        raise ConfigError(f"{target.path} has no tokenizer that can be read: {error!s:.300}") from error
    tokens = torch.tensor([token for text in found for token in text], dtype=torch.int64)
    if tokens.numel() and int(tokens.max()) >= target.vocab_size:
        raise ConfigError(f"the tokenizer of {target.path} gives tokens beyond the {target.vocab_size} of its model")
    return torch.bincount(tokens, minlength=target.vocab_size)


def answers(conversations: Sequence[Sequence[Mapping[str, str]]]) -> list[str]:
    """The texts to count: what the assistant says, as a draft proposes that; all of it where it never says anything."""
    messages = [message for conversation in conversations for message in conversation]
    found = [message["content"] for message in messages if message["role"] == "assistant"]
    return found or [message["content"] for message in messages]
