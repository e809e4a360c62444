"""Kinds of requests, strata, whose work an engine counts apart: a bounded number, one of them for all that remains."""

from typing import Annotated, Literal

from pydantic import Field

from aurora_core.config.base import Config

OTHER = "other"
"""The stratum of every request that belongs to no named one."""
MOST_NAMED = 7
"""Named strata; with ``other`` there are at most eight."""

StratumName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
StratumValue = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")]


class StratumConfig(Config):
    """One kind of requests."""

    name: StratumName
    """Its name, as status and metrics show it."""
    values: tuple[StratumValue, ...] = Field(min_length=1, max_length=32)
    """What its requests show: values of the header, hashes of them, or adapters."""


class StrataConfig(Config):
    """How a request's kind is known."""

    by: Literal["Header", "HeaderHash", "Adapter"]
    """A header's value; the SHA-256 of salt and a header's value, as hex; or the LoRA adapter that it asks for."""
    header: str = ""
    """The header, in lower case; of authorization what follows Bearer."""
    salt: str = ""
    """What stands before the value that is hashed."""
    strata: tuple[StratumConfig, ...] = Field(min_length=1, max_length=MOST_NAMED)
    """The named ones."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all, ``other`` last."""
        return (*(one.name for one in self.strata), OTHER)

    def named(self, value: str) -> str:
        """The stratum of what a request shows."""
        return next((one.name for one in self.strata if value in one.values), OTHER)
