"""The trainer's end of the configured transport."""

from pathlib import Path

from aurora_core.config.parts import SamplesConfig
from aurora_core.errors import ConfigError
from aurora_core.samples.spool import SpoolSource
from aurora_core.samples.transport import SampleSource

ONLINE_ALONE = (
    "samples.transport Ray is of mode Online, whose actors hand samples over: run aurora-core online, or set "
    "Filesystem or Mooncake"
)


def open_source(config: SamplesConfig, spool: Path, token: str) -> SampleSource:
    """Open the source.

    Args:
        config: which transport, and its settings.
        spool: folder of the filesystem transport.
        token: bearer token that senders must show (Mooncake transport).

    Raises:
        ConfigError: the transport is another mode's.
    """
    if config.transport == "Ray":
        raise ConfigError(ONLINE_ALONE)
    if config.transport == "Filesystem":
        return SpoolSource(spool, config.spool_bytes, config.max_age_seconds)
    # Mooncake's client library is only needed, and only loaded, where it is chosen.
    from aurora_core.samples.mooncake import MooncakeSource  # noqa: PLC0415

    source = MooncakeSource(config, token)
    source.start()
    return source
