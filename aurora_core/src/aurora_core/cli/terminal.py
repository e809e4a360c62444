"""What the commands print: text of others in it has no effect on a terminal."""

from aurora_core.printable import printable


def printable_lines(text: str) -> str:
    """The text with every line of it made printable."""
    return "\n".join(map(printable, text.split("\n")))
