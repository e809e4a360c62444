"""The trainer's end of the configured transport."""

from pathlib import Path

from aurora_core.config.parts import SamplesConfig
from aurora_core.errors import ConfigError
from aurora_core.samples.schema import HEADER_BYTES
from aurora_core.samples.spool import SpoolSource
from aurora_core.samples.transport import SampleSource

ONLINE_ALONE = (
    "samples.transport Ray is of mode Online, whose actors hand samples over: run aurora-core online, or set "
    "Filesystem or Mooncake"
)


_MOST_LAYERS = 16
"""Auxiliary layers that a draft can be fed by, and so a sample can have."""
_STATE_BYTES, _TOKEN_BYTES = 4, 8


def largest(tokens: int, hidden: int) -> int:
    """Bytes of a sample of so many tokens at most; ``hidden`` is the width of the target.

    A file of more is none of ours, and is not read into memory: a sparse one of any size takes no room on the volume.
    """
    return tokens * ((_MOST_LAYERS + 1) * hidden * _STATE_BYTES + _TOKEN_BYTES) + HEADER_BYTES


def open_source(config: SamplesConfig, spool: Path, token: str, hidden: int) -> SampleSource:
    """Open the source.

    Args:
        config: which transport, and its settings.
        spool: folder of the filesystem transport.
        token: bearer token that senders must show (Mooncake transport).
        hidden: width of the target.

    Raises:
        ConfigError: the transport is another mode's.
    """
    if config.transport == "Ray":
        raise ConfigError(ONLINE_ALONE)
    most = largest(config.max_tokens, hidden)
    if config.transport == "Filesystem":
        return SpoolSource(spool, min(config.spool_bytes, most), config.max_age_seconds)
    # Mooncake's client library is only needed, and only loaded, where it is chosen.
    from aurora_core.samples.mooncake import MooncakeSource  # noqa: PLC0415

    source = MooncakeSource(config, token, most)
    source.start()
    return source
