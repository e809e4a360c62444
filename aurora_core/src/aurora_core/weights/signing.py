"""Signatures of versions and training states: who can write the volume but has no key can make none that is used.

A signature is HMAC-SHA256 over a manifest's checksum, which covers everything that the manifest says, and through it
every byte of the version; one of a state is none of a version. Whoever can verify can sign as well: the keys are the
trainer's and the engines', and nobody else's.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from aurora_core import credentials
from aurora_core.errors import ConfigError, WeightsError

KEY, PREVIOUS, REQUIRED = "AURORA_SIGNING_KEY", "AURORA_SIGNING_KEY_PREVIOUS", "AURORA_SIGNING_REQUIRED"
"""Environment variables: the key that signs, another that is accepted, and whether unsigned versions are refused."""
_SHORTEST = 32
Subject = Literal["version", "state"]


@dataclass(frozen=True)
class Signing:
    """Signing keys, and what is refused.

    Attributes:
        keys: the first signs, each is accepted.
        required: whether a version without a signature is refused; one with a wrong signature always is.
        subject: what is signed.
    """

    keys: tuple[str, ...] = field(repr=False)
    required: bool = True
    subject: Subject = "version"

    def __post_init__(self) -> None:
        """Refuse keys that could be guessed.

        Raises:
            ConfigError: there is none, or one is short.
        """
        if not self.keys:
            raise ConfigError(f"signing needs a key: set {KEY}")
        if any(len(key) < _SHORTEST for key in self.keys):
            raise ConfigError(
                f"a signing key has fewer than {_SHORTEST} characters: use what `openssl rand -hex 32` makes"
            )

    def sign(self, checksum: str) -> str:
        """The signature of a manifest with this checksum, in hexadecimal."""
        return _signature(self.keys[0], checksum, self.subject)

    def check(self, checksum: str, signature: str, where: str) -> None:
        """Accept a manifest by its checksum and signature.

        Raises:
            WeightsError: it is not signed by any of the keys.
        """
        if not signature and not self.required:
            return
        if not signature:
            raise WeightsError(f"{where} is not signed, and only signed ones are used")
        if not any(hmac.compare_digest(_signature(key, checksum, self.subject), signature) for key in self.keys):
            raise WeightsError(f"{where} is not signed by a key of this deployment")

    def of_states(self) -> Self:
        """Signing of training states with the same keys."""
        return replace(self, subject="state")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Signing as it is configured; None without a key.

        Raises:
            ConfigError: a key is none, or makes no sense.
        """
        found = [credentials.from_environment(name, environment) for name in (KEY, PREVIOUS)]
        required = environment.get(REQUIRED, "true")
        if required not in {"true", "false"}:
            raise ConfigError(f"{REQUIRED} must be true or false")
        if not any(found):
            return None
        if not found[0]:
            raise ConfigError(f"{PREVIOUS} is set, and {KEY} is not: name the key that signs")
        return cls(tuple(filter(None, found)), required == "true")


def _signature(key: str, checksum: str, subject: Subject) -> str:
    return hmac.new(key.encode(), f"aurora {subject}\n{checksum}".encode(), hashlib.sha256).hexdigest()
