"""What the commands print: text of others in it has no effect on a terminal."""

import logging
import os
from pathlib import Path

from aurora_core.printable import printable
from aurora_core.protocol.trainer import LAST_MESSAGE


def printable_lines(text: str) -> str:
    """The text with every line of it made printable."""
    return "\n".join(map(printable, text.split("\n")))


def leave(message: str) -> None:
    """Append a message to the file of :data:`LAST_MESSAGE`, which several ranks may share; nothing without one."""
    path = os.environ.get(LAST_MESSAGE)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{printable_lines(message)}\n")
    except OSError as error:
        logging.getLogger(__name__).warning("the last message is in the log alone: %s", error)
