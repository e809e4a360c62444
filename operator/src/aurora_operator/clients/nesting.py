"""JSON that is nested too deep is cut where it is read, whichever library reads it.

Python's decoder raises RecursionError at some hundred levels, and so does what copies or compares what it decoded. kopf
reads lists and watches itself and has no place for another decoder: one object that is too deep, of whatever kind that
is watched, would end the process, again at each start, and with it the care for all other resources. A closed schema
keeps such objects from being stored; an older CustomResourceDefinition, or ``metadata.managedFields``, does not.
"""

import json
import re
from typing import Any

DEEPEST = 200
"""Levels that are kept. CustomResourceDefinitions with a pod's schema have about 100, anything else far fewer."""
_STRING = r'"(?:[^"\\]|\\.)*"'
_OTHER = bytes(set(range(256)) - set(b'[]{}"'))
_TOKEN = re.compile(rf"{_STRING}|[][{{}}]", re.DOTALL)


def is_deep(text: str) -> bool:
    """Whether a JSON text has more than DEEPEST levels."""
    if text.count("{") + text.count("[") <= DEEPEST:
        return False
    # Copies without what does not matter are several times faster than reading each token.
    plain = text.replace("\\\\", "").replace('\\"', "").encode(errors="replace").translate(None, _OTHER)
    brackets = re.sub(b'"[^"]*"', b"", plain.replace(b'""', b""))
    for _ in range(DEEPEST):
        # Each round takes away the innermost level.
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if not brackets:
            return False
    return True


def cut(text: str) -> str:
    """The JSON text with null in the place of what is below DEEPEST levels."""
    kept, level, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            level += 1
            if level == DEEPEST + 1:
                kept += [text[start : token.start()], "null"]
        elif token[0] in "}]":
            if level == DEEPEST + 1:
                start = token.end()
            level -= 1
    return "".join([*kept, text[start:]])


class _Decoder(json.JSONDecoder):
    def decode(self, s: str, *more: Any) -> Any:  # noqa: ANN401 (JSON)
        return super().decode(cut(s) if is_deep(s) else s, *more)


def guard() -> None:
    """Have ``json.loads`` of this process, and so everything that reads the API server, read no deeper."""
    json._default_decoder = _Decoder()  # type: ignore[attr-defined]  # noqa: SLF001 (what json.loads uses)
