"""Conversations from a file, and the text that a target's chat template makes of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aurora_core.errors import ConfigError


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: str
    content: str


class _Prompt(BaseModel):
    model_config = ConfigDict(extra="ignore")
    messages: list[_Message] = Field(min_length=1)


def read_prompts(path: Path) -> list[list[dict[str, str]]]:
    """The conversations of a JSONL file.

    Raises:
        ConfigError: unreadable, empty, or a line that is no {"messages": [...]}.
    """
    prompts = []
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        message = f"cannot read the prompts {path}: {error.strerror}"
        raise ConfigError(message) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prompt = _Prompt.model_validate_json(line)
        except ValidationError as error:
            message = f'{path} line {number} is no {{"messages": [...]}}: {error.errors()[0]["msg"]}'
            raise ConfigError(message) from error
        prompts.append([m.model_dump() for m in prompt.messages])
    if not prompts:
        message = f"{path} holds no prompt"
        raise ConfigError(message)
    return prompts


def render(prompts: Sequence[list[dict[str, str]]], tokenizer: Any) -> list[str]:  # noqa: ANN401 (transformers')
    """Prompts as the text that the target's chat template makes of them."""
    return [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
