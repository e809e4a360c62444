"""What a version says of itself."""

import hashlib
import json
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from aurora_core.config.algorithms import DEFAULT
from aurora_core.errors import WeightsError
from aurora_core.protocol.agent import VersionInfo

SCHEMA = 2


class FileEntry(BaseModel):
    """One file of a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(ge=0, lt=2**53)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Provenance(BaseModel):
    """What made a version, and of which samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field("", max_length=500)
    """Of the trainer; empty where it is not known."""
    configuration: str = Field("", max_length=64)
    """sha256 of the configuration that it trained by, as canonical JSON; empty where it was not trained."""
    samples: int = Field(0, ge=0, lt=2**53)
    """Samples that the trainer took in since it was started."""
    oldest_sample: datetime | None = None
    """When the oldest in its pool was captured."""
    newest_sample: datetime | None = None
    """When the newest was."""


class Manifest(BaseModel):
    """The contents, origin and holdout score of a version; written last, so that its presence means completeness."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: int = Field(SCHEMA, ge=SCHEMA, le=SCHEMA)
    version: int = Field(ge=0, lt=10**9)
    parent: int | None = Field(default=None, ge=0, lt=10**9)
    created: datetime
    target_fingerprint: str = Field(max_length=500)
    algorithm: str = Field(DEFAULT, max_length=100)
    """The draft family that reads it."""
    step: int = Field(default=0, ge=0, lt=2**53)
    """Optimizer steps behind it."""
    tokens: int = Field(default=0, ge=0, lt=2**53)
    """Tokens trained on."""
    holdout_accept_length: float | None = None
    """Simulated accept length on held-out requests, tokens per verify cycle."""
    parent_holdout_accept_length: float | None = None
    """The parent's, on the same requests."""
    holdout_gain_error: float | None = Field(None, ge=0)
    """Standard error of the logarithm of the first over the second; None, and not written, where it is not known."""
    provenance: Provenance = Provenance()
    """What made it."""
    files: dict[str, FileEntry] = Field(min_length=1, max_length=1000)
    checksum: str = Field("", max_length=64)
    """sha256 of all of the above, as canonical JSON."""
    signature: str = Field("", max_length=64, pattern=r"^([0-9a-f]{64})?$")
    """Of the checksum, see :mod:`aurora_core.weights.signing`; empty where versions are not signed."""

    @property
    def _unstated(self) -> set[str]:
        """What is not in a manifest that does not know it, as those before it have it."""
        return set() if self.holdout_gain_error is not None else {"holdout_gain_error"}

    def _own_checksum(self) -> str:
        left_out = {"checksum", "signature"} | self._unstated
        canonical = json.dumps(self.model_dump(mode="json", exclude=left_out), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def sealed(self) -> Self:
        """The same, with the checksum of what it says."""
        return self.model_copy(update={"checksum": self._own_checksum()})

    @property
    def intact(self) -> bool:
        """Whether it says what was sealed."""
        return self.checksum == self._own_checksum()

    def text(self) -> str:
        """As it is written: without a signature also for readers that know of none."""
        return (
            self.model_dump_json(indent=2, exclude=self._unstated | (set() if self.signature else {"signature"})) + "\n"
        )

    @property
    def digest(self) -> str:
        """Identity of the contents: sha256 over the target and over the names and checksums of all files.

        Numbers can repeat, on a volume that was emptied or restored; this cannot.
        """
        parts = [self.target_fingerprint, *(f"{name} {entry.sha256}" for name, entry in sorted(self.files.items()))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def check_target(self, fingerprint: str) -> None:
        """Refuse another target than the one that the version was trained for.

        Raises:
            WeightsError: it is another one.
        """
        if self.target_fingerprint != fingerprint:
            raise WeightsError(
                f"version {self.version} was trained for target {self.target_fingerprint:.60}, not for {fingerprint}"
            )

    def info(self) -> VersionInfo:
        """What is reported of it to others."""
        size = sum(entry.bytes for entry in self.files.values())
        return VersionInfo(
            **self.model_dump(exclude={"files", "provenance", "checksum", "signature"}), digest=self.digest, bytes=size
        )


def parse(text: str, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        WeightsError: it is not one.
    """
    try:
        manifest = Manifest.model_validate_json(text)
    except ValueError as error:
        message = f"{where} is no valid manifest: {str(error)[:300]}"
        raise WeightsError(message) from error
    if not manifest.intact:
        raise WeightsError(f"{where} is damaged: it differs from its checksum")
    return manifest
