"""Annotations of a person by which nothing happens, and why: what is misspelt must not pass for done."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from aurora_core.printable import listed, printable

from aurora_operator.api import GROUP
from aurora_operator.promotion.manual import OFF, PAUSE, PROMOTE, REJECT, ROLL_BACK, SPECULATION
from aurora_operator.promotion.progress import Progress

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_MOST_VALUE, _MOST_TEXT = 30, 300


def _decision(value: str, newest: int | None) -> str:
    """What is wrong with the value of ``promote`` or ``reject``."""
    if not _NUMBER.fullmatch(value):
        return "is not the number of a version"
    return "names a version that does not exist" if newest is not None and int(value) > newest else ""


def _rollback(value: str, newest: int | None, at: Progress) -> str:
    """What is wrong with it; where only its target is, the rollback itself says so."""
    meant, colon, target = value.partition(":")
    flaw = _decision(meant, newest)
    if flaw or (colon and not _NUMBER.fullmatch(target)):
        return flaw or "names no version after the colon"
    if target == meant:
        return "names one version twice"
    if not target and meant == str(at.stable.version) and at.stable.previous is None:
        return f"needs a target, because the version before {meant} is not known: as {meant}:0"
    return ""


def _pause(value: str) -> str:
    return "" if value in {"", "true", "false"} else "is neither true nor false, and pauses promotion"


def _speculation(value: str) -> str:
    return "" if value in {OFF, "on"} else f"is neither {OFF} nor on, and changes nothing"


def _flaws(annotations: Mapping[str, str], newest: int | None, at: Progress) -> Iterator[str]:
    known: Mapping[str, Callable[[str], str]] = {
        PROMOTE: partial(_decision, newest=newest),
        REJECT: partial(_decision, newest=newest),
        ROLL_BACK: partial(_rollback, newest=newest, at=at),
        PAUSE: _pause,
        SPECULATION: _speculation,
    }
    for name, value in sorted(annotations.items()):
        if name in known and (flaw := known[name](value)):
            yield f"annotation {name}={printable(value, _MOST_VALUE)!r} {flaw}"
        elif name not in known and name.startswith(f"{GROUP}/"):
            names = ", ".join(one.partition("/")[2] for one in known)
            yield f"annotation {printable(name, 60)} is not known: {names} are"


def unheeded(annotations: Mapping[str, str], at: Progress, newest: int | None) -> str:
    """What a person asked for that cannot be meant; empty where all can.

    A decision about a version that was tried before is none of these: it was carried out, or came too late.

    Args:
        annotations: of the resource.
        at: where promotion stands.
        newest: version on the volume; None where that is not known.
    """
    if newest is not None:
        on_trial = 0 if at.candidate is None else at.candidate.version
        newest = max(newest, at.decided, at.stable.version, on_trial)
    flaws = list(_flaws(annotations, newest, at))
    return printable(f"{listed(flaws, 2)}: correct or remove it", _MOST_TEXT) if flaws else ""
