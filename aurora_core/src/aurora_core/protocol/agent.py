"""The agent's interface: its routes, and the bodies of requests and answers."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from aurora_core.protocol import metrics
from aurora_core.protocol.message import Message, Number, Request, Text


class Route(StrEnum):
    """Paths; all but the first two want a signed request."""

    HEALTH = "/healthz"
    METRICS = "/metrics"
    VERSIONS = "/v1/versions"
    RECORD = "/v1/record"
    VOLUME = "/v1/volume"
    TRAINING = "/v1/training"
    LIVE = "/v1/live"
    LOAD = "/v1/load"
    STEPS = "/v1/steps"
    SAMPLE_RATE = "/v1/sample-rate"


class LoadRequest(Request):
    """Activate a version."""

    version: Number
    digest: str = ""
    """Of its manifest; empty where any is right."""


class Loaded(Message):
    """A version is live."""

    live: Number
    stalled_seconds: float
    """That decoding waited for it."""


class StepsRequest(Request):
    """Draft this many steps a cycle; 0 switches speculation off."""

    steps: Number


class RateRequest(Request):
    """Capture this share of requests."""

    rate: float = Field(ge=0, le=1)


class Refusal(Message):
    """Why a request was not done."""

    error: Text


FULL = 0.03
"""Share of a volume's bytes: with less free it counts as full."""


class Volume(Message):
    """Bytes of the file system with versions, samples and training state.

    Where it is full, engines serve on and drop samples (``samples/spool.py``, counted with the reason ``spool_error``),
    training continues without the versions and states that it cannot write (``training/publisher.py`` and
    ``training/run.py``, counted as failures ``publish`` and ``save``), and the operator reports ``VolumeFull``
    (``reconcile/storage.py``).
    """

    free: Annotated[Number, metrics.VOLUME_FREE_BYTES]
    total: Annotated[Number, metrics.VOLUME_BYTES]

    @property
    def is_full(self) -> bool:
        """Whether less than the share ``FULL`` is free."""
        return self.free < FULL * self.total


class VersionInfo(Message):
    """A version on the volume."""

    version: Number
    parent: Number | None = None
    created: datetime | None = None
    target_fingerprint: Text = ""
    step: Number = 0
    """Optimizer steps behind it."""
    tokens: Number = 0
    """Tokens trained on."""
    holdout_accept_length: float | None = None
    """Simulated accept length on held-out requests, tokens per verify cycle."""
    parent_holdout_accept_length: float | None = None
    """The parent's, on the same requests."""
    holdout_gain_error: float | None = None
    """Standard error of the logarithm of the first over the second."""
    digest: Text = ""
    """Of its manifest."""
    bytes: Number = 0
    """Of all its files."""


class Best(Message):
    """The best version so far, where that may not be stable."""

    version: int = Field(ge=0, lt=10**9)
    """Draft version."""
    steps: int = Field(ge=0, le=64)
    """Its draft steps."""
    digest: str = Field("", max_length=64)
    """Digest of its manifest; empty where it is not known."""
    estimate: float = 0.0
    """Log of stable over it, by the promotions since."""
    lower: float = 0.0
    """Lower end of that."""


class Record(Message):
    """What promotion decided, kept on the volume with the versions that it is about."""

    schema_version: int = 1
    version: int = Field(ge=0, lt=10**9)
    """The stable version."""
    steps: int = Field(ge=0, le=64)
    """Its draft steps; 0 is target-only."""
    digest: str = Field("", max_length=64)
    """Digest of its manifest; empty where it is not known."""
    decided: int = Field(0, ge=0, lt=10**9)
    """Newest version whose trial ended; older ones are not tried again."""
    best: Best | None = None
    """None where stable is the best."""


class Contents(Message):
    """What is on the volume."""

    versions: tuple[VersionInfo, ...]
    """All that can be read, ascending."""
    damaged: Mapping[Text, Text] = Field(default_factory=dict)
    """What cannot, and why."""
    record: Record | None = None
