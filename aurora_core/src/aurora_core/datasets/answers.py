"""Answers of conversations as an engine's tokens: the prompt by the chat template, then what was generated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from aurora_core.datasets.conversations import Conversation
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target


@dataclass(frozen=True)
class Answer:
    """One answer of an assistant.

    Attributes:
        id: the conversation's and the answer's number in it.
        domain: the conversation's.
        tokens: int64 [L], prompt then answer.
        prompt_tokens: how many of them are the prompt.
        prompt: its text.
    """

    id: str
    domain: str
    tokens: Tensor
    prompt_tokens: int
    prompt: str


def tokenizer_of(target: Target) -> Any:  # noqa: ANN401 (transformers')
    """The target's tokenizer.

    Raises:
        ConfigError: it has none that can be read, or one without a chat template.
    """
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(target.path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # files of others, read by transformers, which raises whatever it meets
        raise ConfigError(f"{target.path} has no tokenizer that can be read: {error!s:.300}") from error
    if not tokenizer.chat_template:
        raise ConfigError(f"the tokenizer of {target.path} has no chat template: conversations cannot be rendered")
    return tokenizer


def generated_text(rendered: str, prompt: str, content: str, end: str | None) -> str:
    """What an engine generated of an answer, of the text of the full conversation.

    Args:
        rendered: prompt and answer, by the chat template.
        prompt: the prompt alone, up to where the answer starts.
        content: the answer itself.
        end: the token that ends an answer, if there is one.

    Returns:
        What follows the prompt, up to the ending token and with it; the content and that token where a template renders
        earlier messages in another way once they were answered.
    """
    rest = rendered[len(prompt) :] if rendered.startswith(prompt) else content + (end or "")
    return rest[: rest.rindex(end) + len(end)] if end and end in rest else rest


def of(conversations: Sequence[Conversation], target: Target) -> list[Answer]:
    """Every answer of an assistant that follows a message of another.

    Raises:
        ConfigError: there is none, or the target's tokenizer cannot render them.
    """
    tokenizer, found = tokenizer_of(target), []
    for conversation in conversations:
        for at, message in enumerate(conversation.messages):
            if message["role"] != "assistant" or at == 0:
                continue
            try:
                before = list(conversation.messages[:at])
                prompt = tokenizer.apply_chat_template(before, tokenize=False, add_generation_prompt=True)
                rendered = tokenizer.apply_chat_template([*before, message], tokenize=False)
            except Exception as error:  # a template of others, run by jinja
                raise ConfigError(f"{conversation.id}: the chat template refuses it: {error!s:.200}") from error
            text = generated_text(rendered, prompt, message["content"], tokenizer.eos_token)
            ids = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, text)]
            if not (ids[0] and ids[1]):
                continue
            tokens = torch.tensor(ids[0] + ids[1], dtype=torch.int64)
            if int(tokens.max()) >= target.vocab_size:
                raise ConfigError(f"the tokenizer of {target.path} gives tokens beyond its {target.vocab_size}")
            found.append(Answer(f"{conversation.id}#{at}", conversation.domain, tokens, len(ids[0]), prompt))
    if not found:
        raise ConfigError(
            "no conversation has an answer of the assistant: aurora-core generate has the target write them"
        )
    return found
