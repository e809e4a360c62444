"""Answers of the target to conversations, by an engine that serves it, written as they come.

Every message of a user is answered in its order, each by the target itself, with its own earlier answers before it:
what a file's own assistant wrote is left out, as a draft learns to propose what its target generates.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from aurora_core.datasets.conversations import Conversation, Message
from aurora_core.errors import ConfigError

PATIENCE_SECONDS = 600.0
"""For one answer."""
FAILURES = (httpx.HTTPError, ConfigError, ValueError, KeyError, IndexError, TypeError)
"""What :func:`answer` raises where there is no answer."""
_AT_ONCE: AbstractAsyncContextManager[object] = nullcontext()


@dataclass(frozen=True)
class Requesting:
    """How an engine is asked.

    Attributes:
        url: of an OpenAI-compatible server, without ``/v1``.
        model: its name there; empty for the first one that the server has.
        api_key: bearer token; empty for none.
        concurrency: conversations at a time.
        max_tokens: of each answer.
        temperature: of sampling.
    """

    url: str
    model: str = ""
    api_key: str = ""
    concurrency: int = 16
    max_tokens: int = 512
    temperature: float = 0.0


@dataclass
class Outcome:
    """What became of the conversations.

    Attributes:
        answered: written now.
        before: that were in the file already.
        failures: what went wrong, with the conversation's id.
    """

    answered: int = 0
    before: int = 0
    failures: list[str] = field(default_factory=list)


def turns(messages: Sequence[Message]) -> list[list[Message]]:
    """What stands before each answer and after the last one, without the answers: the parts that end with a user's.

    Raises:
        ConfigError: no message is a user's.
    """
    parts: list[list[Message]] = []
    part: list[Message] = []
    for message in messages:
        if message["role"] == "assistant":
            continue
        part.append(message)
        if message["role"] == "user":
            parts.append(part)
            part = []
    if not parts:
        raise ConfigError("there is no message of a user to answer")
    return parts


def finished(out: Path) -> set[str]:
    """The ids that an earlier run has written; what was cut when that ended is taken off the file.

    Raises:
        ConfigError: the file contains something else, or cannot be read or written.
    """
    try:
        content = out.read_bytes() if out.exists() else b""
        complete = content[: content.rfind(b"\n") + 1]
        try:
            ids = {str(json.loads(line)["id"]) for line in complete.splitlines()}
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{out} was not written by this command: name another file") from error
        if len(complete) < len(content):
            with out.open("r+b") as file:
                file.truncate(len(complete))
    except OSError as error:
        raise ConfigError(f"{out} cannot be read or written: {error.strerror}") from error
    return ids


async def served_model(client: httpx.AsyncClient) -> str:
    """The first model that a server names.

    Raises:
        ConfigError: none does.
    """
    try:
        response = await client.get("/v1/models")
        response.raise_for_status()
        return str(response.json()["data"][0]["id"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f"no OpenAI-compatible server answers at {client.base_url}: {type(error).__name__} {error}"
        ) from error


async def answer(
    client: httpx.AsyncClient,
    conversation: Conversation,
    requesting: Requesting,
    model: str,
    turn: AbstractAsyncContextManager[object] = _AT_ONCE,
) -> list[Message]:
    """The conversation with the target's own answers.

    Args:
        client: of the server.
        conversation: whose users' messages are answered.
        requesting: how.
        model: its name at the server.
        turn: held during each request.

    Raises:
        ConfigError: no message is a user's.
        HTTPError, ValueError, KeyError, IndexError, TypeError: there is no answer.
    """
    messages: list[Message] = []
    for part in turns(conversation.messages):
        messages += part
        body = {
            "model": model,
            "messages": messages,
            "max_tokens": requesting.max_tokens,
            "temperature": requesting.temperature,
        }
        async with turn:
            response = await client.post("/v1/chat/completions", json=body)
        response.raise_for_status()
        content = response.json()["choices"][0]["message"]["content"]
        if not isinstance(content, str) or not content:
            raise ValueError("the answer is empty")
        messages.append({"role": "assistant", "content": content})
    return messages


async def _generate(
    conversations: Sequence[Conversation],
    requesting: Requesting,
    file: IO[str],
    outcome: Outcome,
    on_end: Callable[[], object],
) -> None:
    headers = {"Authorization": f"Bearer {requesting.api_key}"} if requesting.api_key else {}
    waiting = iter(conversations)
    # A Service deals connections to pods, so each request has one of its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=requesting.url, headers=headers, timeout=PATIENCE_SECONDS, limits=limits
    ) as client:
        model = requesting.model or await served_model(client)

        async def work() -> None:
            for conversation in waiting:
                try:
                    messages = await answer(client, conversation, requesting, model)
                except FAILURES as error:
                    outcome.failures.append(f"{conversation.id}: {type(error).__name__} {error}")
                else:
                    line = {"id": conversation.id, "domain": conversation.domain, "messages": messages}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    file.flush()
                    outcome.answered += 1
                on_end()

        await asyncio.gather(*(work() for _ in range(requesting.concurrency)))


def generate(
    conversations: Sequence[Conversation],
    requesting: Requesting,
    out: Path,
    on_end: Callable[[], object] = lambda: None,
) -> Outcome:
    """Answer what is not in a file yet, and append it there: a line with ``id``, ``domain`` and ``messages`` each.

    A failure costs its conversation alone; the next run tries it again.

    Args:
        conversations: whose users' messages are answered.
        requesting: whom, and how.
        out: JSON lines.
        on_end: called when a conversation was answered or has failed.

    Raises:
        ConfigError: no server answers, or the file cannot be read or written.
    """
    done = finished(out)
    left = [one for one in conversations if one.id not in done]
    outcome = Outcome(before=len(conversations) - len(left))
    if not left:
        return outcome
    try:
        with out.open("a", encoding="utf-8") as file:
            asyncio.run(_generate(left, requesting, file, outcome, on_end))
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    return outcome
