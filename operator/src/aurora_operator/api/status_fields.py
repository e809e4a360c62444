"""What the parts of the status are made of: read leniently, and of a bounded size."""

from typing import Annotated

from aurora_core.config.base import Config
from aurora_core.printable import printable
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

_MOST_TEXT = 800
"""Characters of a text in a status: a resource that grows beyond what etcd takes could not be written any more."""


def _shown(value: object) -> object:
    return printable(value, _MOST_TEXT)[:_MOST_TEXT] if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_shown)]
"""A text that is cut where it is too long, and whose control characters do nothing to a terminal that shows it."""
MOST_VERSION, MOST_DIGEST = 10**9, 64
Version = Annotated[int, Field(ge=0, lt=MOST_VERSION)]
MOST_COUNT = 2**53
Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
"""A count that every reader of JSON reads exactly."""
Steps = Annotated[int, Field(ge=0, le=64)]
Alpha = Annotated[float, Field(gt=0, le=1)]
Digest = Annotated[str, Field(max_length=MOST_DIGEST)]


class Part(Config):
    """Read back leniently: see :mod:`aurora_operator.api.reading`."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )
