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
        trees: whether it can propose a token tree, ``top_k`` above 1.
        switchable: whether an engine can stop drafting, and begin, while it runs; never with a token tree.
        fed_by: how many of the target's layers feed a draft; None where a draft says.
        depth: how many layers a draft has; None where a draft says.
    """

    module: str
    arguments: tuple[str, ...] = ()
    trees: bool = True
    switchable: bool = True
    fed_by: int | None = None
    depth: int | None = None


FAMILIES: dict[str, Registered] = {
    "EAGLE3": Registered("aurora_core.drafts.eagle3", ("--speculative-eagle-topk",), fed_by=3, depth=1),
    "DFLASH": Registered(
        "aurora_core.drafts.dflash", ("--speculative-dflash-block-size",), trees=False, switchable=False
    ),
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
