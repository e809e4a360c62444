"""The registry of draft families: the one place that names them all, without torch, so that the operator reads it too.

A family is an architecture of drafts with all that is its own (:class:`aurora_core.drafts.family.DraftFamily`). To add
one, add its folder and a line here: docs/extending.md.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema


@dataclass(frozen=True)
class Registered:
    """Where a family is.

    Attributes:
        module: has the family as ``FAMILY``.
        arguments: of SGLang that it alone sets, beside those that every draft has; nobody else may.
    """

    module: str
    arguments: tuple[str, ...] = ()


FAMILIES: dict[str, Registered] = {
    "EAGLE3": Registered("aurora_core.drafts.eagle3", ("--speculative-eagle-topk",)),
}
"""By the algorithm's name, which is SGLang's ``--speculative-algorithm`` too. The first one is the default."""

DEFAULT = next(iter(FAMILIES))


def _known(algorithm: str) -> str:
    if algorithm not in FAMILIES:
        message = f"no draft family {algorithm!r:.60} is known here; there are {', '.join(FAMILIES)}"
        raise ValueError(message)
    return algorithm


Algorithm = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(FAMILIES)})]
"""The name of a registered family."""
