"""Conversations of a file, in the forms that data sets have.

JSON lines, or one JSON array, of objects with ``messages`` (``role``, ``content``) or, as ShareGPT, with
``conversations`` (``from``, ``value``).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_core.errors import ConfigError

Message = Mapping[str, str]
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
"""ShareGPT's names of who is speaking."""


@dataclass(frozen=True)
class Conversation:
    """One of them.

    Attributes:
        id: unique among those of its files.
        domain: what it is counted under: its file's name without ending, or a field of the object.
        messages: ``role`` and ``content`` each.
    """

    id: str
    domain: str
    messages: tuple[Message, ...]


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{what} is {value!r:.40}, not text")
    return value


def _messages(raw: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of one object.

    Raises:
        ConfigError: it has neither form.
    """
    turns, (who, what) = (
        (raw["messages"], ("role", "content")) if "messages" in raw else (raw.get("conversations"), ("from", "value"))
    )
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise ConfigError('expected {"messages": [{"role", "content"}, ...]} or {"conversations": [{"from", "value"}]}')
    found = []
    for number, turn in enumerate(turns, start=1):
        role = _text(turn.get(who), f"{who!r} of message {number}")
        if who == "from":
            if role not in _ROLES:
                raise ConfigError(f"'from' of message {number} is {role!r:.40}, none of {', '.join(_ROLES)}")
            role = _ROLES[role]
        found.append({"role": role, "content": _text(turn.get(what), f"{what!r} of message {number}")})
    return tuple(found)


def _objects(path: Path) -> Iterator[tuple[str, object]]:
    """The objects of a file, each with the text for where it is."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the conversations {path}: {error.strerror}") from error
    if text.lstrip().startswith("["):
        try:
            yield from ((f"object {number}", one) for number, one in enumerate(json.loads(text), start=1))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not JSON: {error}") from error
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{path} line {number} is not JSON: {error}") from error


def read(paths: Sequence[Path], domain_field: str | None = None) -> list[Conversation]:
    """The conversations of some files.

    Args:
        paths: the files; two with one name have their order before it.
        domain_field: of each object, its domain; without it the file's name is.

    Raises:
        ConfigError: unreadable, empty, or not of a form that is read; says where.
    """
    found: dict[str, Conversation] = {}
    for number, path in enumerate(paths):
        again = "" if path.name not in {other.name for other in paths[:number]} else f"{number}:"
        for where, raw in _objects(path):
            try:
                if not isinstance(raw, dict):
                    raise ConfigError("expected a JSON object")  # noqa: TRY301 (reported with the others)
                name = f"{again}{path.name}:{raw.get('id', where.rpartition(' ')[2])}"
                domain = path.stem if domain_field is None else str(raw.get(domain_field))
                conversation = Conversation(name, domain, _messages(raw))
            except ConfigError as error:
                raise ConfigError(f"{path} {where}: {error}") from error
            if found.setdefault(name, conversation) is not conversation:
                raise ConfigError(f"{path} {where}: the id {raw.get('id')!r:.60} was there before")
    if not found:
        raise ConfigError(f"{', '.join(map(str, paths))}: there is no conversation")
    return list(found.values())


def read_prompts(path: Path, tokenizer: Any) -> list[str]:  # noqa: ANN401 (transformers')
    """The conversations of a file, each as the text that the target's chat template makes of it.

    Raises:
        ConfigError: see :func:`read`.
    """
    return [
        tokenizer.apply_chat_template(list(one.messages), tokenize=False, add_generation_prompt=True)
        for one in read([path])
    ]
