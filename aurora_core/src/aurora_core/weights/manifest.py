"""What a version says of itself."""

import hashlib
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from aurora_core.errors import WeightsError
from aurora_core.protocol.agent import VersionInfo


class FileEntry(BaseModel):
    """One file of a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """The contents, origin and holdout score of a version; written last, so that its presence means completeness."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = 1
    version: int = Field(ge=0)
    parent: int | None = Field(default=None, ge=0)
    created: datetime
    target_fingerprint: str
    algorithm: str = "EAGLE3"
    step: int = Field(default=0, ge=0)
    """Optimizer steps behind it."""
    tokens: int = Field(default=0, ge=0)
    """Tokens trained on."""
    holdout_accept_length: float | None = None
    """Simulated accept length on held-out requests, tokens per verify cycle."""
    parent_holdout_accept_length: float | None = None
    """The parent's, on the same requests."""
    files: dict[str, FileEntry] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Identity of the contents: sha256 over the target and over the names and checksums of all files.

        Numbers can repeat, on a volume that was emptied or restored; this cannot.
        """
        parts = [self.target_fingerprint, *(f"{name} {entry.sha256}" for name, entry in sorted(self.files.items()))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def info(self) -> VersionInfo:
        """What is reported of it to others."""
        size = sum(entry.bytes for entry in self.files.values())
        return VersionInfo(**self.model_dump(exclude={"files"}), digest=self.digest, bytes=size)


def parse(text: str, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        WeightsError: it is not one.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValueError as error:
        message = f"{where} is no valid manifest: {str(error)[:300]}"
        raise WeightsError(message) from error
