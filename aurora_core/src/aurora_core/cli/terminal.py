"""What the commands print: text of others in it has no effect on a terminal."""


def printable(text: str) -> str:
    """Lines with every control, format or surrogate character escaped as Python would."""
    return "\n".join(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        for line in text.split("\n")
    )
