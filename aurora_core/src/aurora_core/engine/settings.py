"""The launcher's settings for the plugin, in one environment variable."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from aurora_core import regular
from aurora_core.config.base import Config
from aurora_core.config.parts import SamplesConfig
from aurora_core.config.strata import StrataConfig
from aurora_core.errors import ConfigError
from aurora_core.weights.signing import Signing

VARIABLE = "AURORA_ENGINE"
ADMIN_KEY, API_KEY = "AURORA_ADMIN_KEY", "AURORA_API_KEY"
"""Environment variables of the engine's API keys."""


_DESIRED_BYTES = 1 << 16


def _text(path: Path) -> str:
    # A mounted ConfigMap is links.
    return regular.read(regular.led_to(path), _DESIRED_BYTES).decode(errors="replace")


class Desired(Config):
    """What an engine starts with; afterwards the agent sets it."""

    version: int = Field(ge=0)
    """Draft version."""
    steps: int = Field(ge=0)
    """Draft steps of a cycle; 0 keeps speculation off."""
    digest: str = ""
    """Digest of the version's manifest; empty where any is right."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From a folder with a file for each field, as a ConfigMap is mounted.

        Raises:
            ConfigError: a file is missing or contains no number.
        """
        try:
            names = [name for name in cls.model_fields if name != "digest" or (folder / name).exists()]
            return cls.model_validate({name: _text(folder / name) for name in names})
        except (OSError, ValidationError) as error:
            message = f"{folder} does not say what to serve: {error}"
            raise ConfigError(message) from error


class EngineSettings(Config):
    """The plugin's settings; absent, the plugin does nothing at all."""

    weights: Path
    """Root of the weights store."""
    version: int = Field(ge=0)
    """The version that the engine starts with."""
    target: str
    """Fingerprint of the target."""
    spool: Path
    """Folder of the filesystem transport."""
    dtype: str
    """Type that the engine computes in, resolved on this machine."""
    fallback: str = ""
    """Why the engine runs target-only on another version than it should serve; empty where it does not."""
    initial_steps: int = Field(ge=0)
    """Draft steps from the start: 0 where no draft is worth running yet."""
    samples: SamplesConfig
    """What to capture and where to send it."""
    strata: StrataConfig | None = None
    """Kinds of requests whose work is counted apart."""
    signing_keys: tuple[str, ...] = ()
    """Signing keys, one of which must have signed a version; empty where versions are not signed."""
    signing_required: bool = True
    """Whether a version without any signature is refused."""
    sample_token: str = ""
    """Bearer token of the trainer's endpoint (Mooncake transport)."""

    @property
    def signing(self) -> Signing | None:
        """How versions are signed."""
        return Signing(self.signing_keys, self.signing_required) if self.signing_keys else None

    @classmethod
    def from_environment(cls) -> Self | None:
        """The settings that the launcher left, or None without them.

        Raises:
            ConfigError: they are there but make no sense.
        """
        text = os.environ.get(VARIABLE)
        if text is None:
            return None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            message = f"{VARIABLE} is not valid: {error}"
            raise ConfigError(message) from error
