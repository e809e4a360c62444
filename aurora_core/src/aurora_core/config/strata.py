"""Kinds of requests, strata, whose work an engine counts apart: a bounded number, one of them for all that remains."""

from typing import Annotated, Literal

from pydantic import Field

from aurora_core.config.base import Config
from aurora_core.config.effect import Effect

OTHER = "other"
"""The stratum of every request that belongs to no named one."""
MOST_NAMED = 7
"""Named strata; with ``other`` there are at most eight."""

StratumName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
StratumValue = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")]


class StratumConfig(Config):
    """One kind of requests."""

    name: StratumName
    """Its name, in status, messages and metrics."""
    values: tuple[StratumValue, ...] = Field(min_length=1, max_length=32)
    """What its requests show: values of the header, their hashes, or names of adapters."""
    capture: bool = True
    """Whether its requests may become samples: false keeps a customer, known by its API key, out of training."""


class StrataConfig(Config):
    """How a request's kind is known."""

    by: Annotated[Literal["Header", "HeaderHash", "Adapter"], Effect.ENGINES]
    """Header: a request header's value, set by a gateway that knows the client. HeaderHash: the SHA-256 of salt and
    that value, for API keys (of authorization, what follows Bearer). Adapter: the LoRA adapter that a request names."""
    header: Annotated[str | None, Effect.ENGINES] = Field(
        None, min_length=1, max_length=100, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )
    """Name of the header, in lower case."""
    salt: Annotated[str | None, Effect.ENGINES] = Field(None, min_length=8, max_length=100, pattern=r"^[!-~]+$")
    """What stands before the value that is hashed."""
    named: Annotated[tuple[StratumConfig, ...], Effect.ENGINES] = Field(min_length=1, max_length=MOST_NAMED)
    """The named strata."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all strata, ``other`` last."""
        return (*(one.name for one in self.named), OTHER)

    def may_be_captured(self, name: str) -> bool:
        """Whether requests of a stratum may become samples."""
        return all(one.capture for one in self.named if one.name == name)

    def of(self, value: str) -> str:
        """The stratum of what a request shows."""
        return next((one.name for one in self.named if value in one.values), OTHER)
