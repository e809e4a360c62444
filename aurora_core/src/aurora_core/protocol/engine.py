"""An engine's state: what the plugin adds to SGLang's ``/server_info``, and the agent passes on and exports.

A field that names a metric is exported as it: a number as one series, a mapping as one for each of its keys.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from aurora_core.protocol import metrics
from aurora_core.protocol.message import Counts, Message, Number, Text
from aurora_core.protocol.metrics import Metric

STATE_KEY = "aurora"
"""Of the engine's state, in SGLang's internal state."""

Amount = Annotated[float, Field(ge=0)]


MOST_STRATA = 8
"""Of a deployment, ``other`` included: what bounds the number of series."""


class StratumCounters(Message):
    """What one engine counted of one stratum's requests under an arm; they are counted in the arm's sums too."""

    accept_tokens: Annotated[Amount, metrics.STRATUM_ACCEPT_TOKENS] = 0
    accept_cycles: Annotated[Amount, metrics.STRATUM_ACCEPT_CYCLES] = 0
    decode_tokens: Annotated[Amount, metrics.STRATUM_DECODE_TOKENS] = 0
    decode_seconds: Annotated[Amount, metrics.STRATUM_DECODE_SECONDS] = 0


class ArmCounters(Message):
    """What one engine counted under one draft version and number of draft steps.

    Another counter is a field here, with its metric of :mod:`aurora_core.protocol.metrics`. ``engine/counters.py``
    counts it, the agent exports every field alike under its metric's name, and the operator's ``promotion/counters.py``
    names those that the gate reads.
    """

    version: Number
    steps: Number
    requests_finished: Annotated[Number, metrics.REQUESTS_FINISHED] = 0
    requests_aborted: Annotated[Number, metrics.REQUESTS_ABORTED] = 0
    requests_failed: Annotated[Number, metrics.REQUESTS_FAILED] = 0
    accept_tokens: Annotated[Amount, metrics.ACCEPT_TOKENS] = 0
    accept_cycles: Annotated[Amount, metrics.ACCEPT_CYCLES] = 0
    decode_tokens: Annotated[Amount, metrics.DECODE_TOKENS] = 0
    decode_seconds: Annotated[Amount, metrics.DECODE_SECONDS] = 0
    first_tokens: Annotated[Number, metrics.FIRST_TOKENS] = 0
    first_seconds: Annotated[Amount, metrics.FIRST_SECONDS] = 0
    strata: Mapping[Text, StratumCounters] = Field(default_factory=dict, max_length=MOST_STRATA)


class DraftState(Message):
    """The draft that is live, and what became of those that should have become it."""

    live: Annotated[Number, metrics.DRAFT_LIVE_VERSION]
    prepared: Number | None = None
    """Version that is read and verified, and can be activated."""
    failed: Mapping[Number, Text] = Field(default_factory=dict)
    """Versions that could not be activated, and why."""
    swaps: Annotated[Number, metrics.DRAFT_SWAPS] = 0
    failures: Annotated[Number, metrics.DRAFT_SWAP_FAILURES] = 0
    seconds: Annotated[Amount, metrics.DRAFT_SWAP_SECONDS] = 0
    last_seconds: Amount = 0
    """Seconds that decoding waited for the last activation."""


class CaptureState(Message):
    """What became of requests as samples."""

    rate: Annotated[Amount, metrics.CAPTURE_RATE]
    share: Annotated[Amount, metrics.CAPTURE_SHARE] = 1
    """Of the rate, that is captured while samples are not taken as fast; 0 while capture pauses."""
    pauses: Annotated[Number, metrics.CAPTURE_PAUSES] = 0
    why_paused: Text = ""
    """Why nobody takes samples; empty where one is taken."""
    queue: Annotated[Number, metrics.CAPTURE_QUEUE] = 0
    samples: Annotated[Number, metrics.CAPTURE_SAMPLES] = 0
    bytes: Annotated[Number, metrics.CAPTURE_BYTES] = 0
    dropped: Annotated[Counts, metrics.CAPTURE_DROPPED] = Field(default_factory=dict)
    cut: Annotated[Number, metrics.CAPTURE_CUT] = 0
    """Of the samples, those without the beginning of their prompt."""
    mismatches: Annotated[Counts, metrics.CAPTURE_SKIPPED_PASSES] = Field(default_factory=dict)


class EngineState(Message):
    """All of it."""

    draft: DraftState
    steps: Annotated[Number, metrics.DRAFT_STEPS]
    capture: CaptureState
    arms: tuple[ArmCounters, ...] = ()
    dtype: Text = ""
    """Type that the engine computes in; empty where it does not say."""
    fallback: Text = ""
    """Why it serves target-only on another version than it should; empty where it does not."""
    errors: Annotated[Counts, metrics.HOOK_ERRORS] = Field(default_factory=dict)

    def arm(self, version: int, steps: int) -> ArmCounters:
        """An arm's counters, zeros before it counted anything."""
        found = (one for one in self.arms if (one.version, one.steps) == (version, steps))
        return next(found, ArmCounters(version=version, steps=steps))


class InternalState(Message):
    """One of SGLang's internal states."""

    aurora: EngineState | None = Field(default=None, alias=STATE_KEY)


class ServerInfo(Message):
    """What of SGLang's ``/server_info`` is ours."""

    internal_states: tuple[InternalState, ...] = Field(min_length=1)


def measured(model: type[Message]) -> Iterator[tuple[str, Metric]]:
    """The fields of a model that are metrics."""
    for name, field in model.model_fields.items():
        for one in field.metadata:
            if isinstance(one, Metric):
                yield name, one
