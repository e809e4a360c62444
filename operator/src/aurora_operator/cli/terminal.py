"""The border to the terminal: all that the command shows passes here.

Statuses, logs and manifests hold text of tenants, whose control characters would move the cursor, rename the window or
hide lines from the reader, and whose square brackets rich would take for markup.
"""

import sys
from typing import NoReturn

from aurora_core.printable import printable
from rich.text import Text


def write(text: str) -> None:
    """One line, with nothing in it that a terminal acts upon; a tab is a space."""
    print(printable(text.replace("\t", " ")), flush=True)


def cell(text: str, style: str = "") -> Text:
    """A cell of a table: never markup."""
    return Text(printable(text.replace("\t", " ")), style=style)


def end(message: str) -> NoReturn:
    """End the command with what is wrong; lines of the message stay lines."""
    sys.exit("\n".join(printable(line) for line in f"aurora: {message}".splitlines()))
