"""Lines of JSON in a file, each written as soon as it is known, so that a long benchmark can be made in pieces."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def earlier(path: Path | None) -> list[dict[str, Any]]:
    """What earlier pieces wrote; nothing without a file."""
    text = path.read_text() if path is not None and path.exists() else ""
    # What has no end was being written when the piece was killed.
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def append(path: Path | None, line: Mapping[str, Any]) -> None:
    """Write a line at once; nowhere without a file."""
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
