"""Text of others, made safe for one line of a terminal, a log or a condition, and lists made short for it."""

from collections.abc import Sequence


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def printable(text: str, most: int | None = None) -> str:
    """The text with every control, format or surrogate character escaped as Python would, so that none takes effect.

    Args:
        text: of whatever origin.
        most: characters of it that are shown; what is cut is marked.
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are: ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
