"""How samples get from the engine to the trainer: the protocol that all transports keep."""

from collections.abc import Iterator, Mapping
from typing import Protocol


class SampleSink(Protocol):
    """The engine's end."""

    def put(self, name: str, payload: bytes) -> None:
        """Hand a sample over.

        Raises:
            TransportError: it was not taken; the caller counts it as dropped and continues.
        """

    def close(self) -> None:
        """Release the sink's resources."""


class Delivery(Protocol):
    """A sample that has arrived."""

    @property
    def name(self) -> str:
        """The sender's name of it."""

    @property
    def age_seconds(self) -> float:
        """Since it was sent."""

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            TransportError: it is gone or cannot be read.
        """

    def done(self) -> None:
        """Let go of it for good: it left the pool, or it was refused."""


class SampleSource(Protocol):
    """The trainer's end."""

    def poll(self) -> Iterator[Delivery]:
        """What has arrived since the last call, oldest first; returns at once."""

    def backlog(self) -> int:
        """Samples waiting to be polled."""

    def lost(self) -> Mapping[str, int]:
        """What engines had and could not hand over since the source was opened, by reason."""

    def close(self) -> None:
        """Release the source's resources."""
