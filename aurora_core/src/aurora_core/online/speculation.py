"""Whether the loop drafts: by measured decode speed, so that it never stays on a draft that is slower than none.

The loop has no gate and no Prometheus. It compares the engine's counters: a block of requests with the draft,
a block target-only, then the faster of the two for a longer while, and again. Blocks are counted in requests and not in
seconds, so a slow machine compares as many as a fast one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aurora_core.protocol.engine import ArmCounters, EngineState

BLOCK = 4
"""Finished requests that one of the two speeds is measured over."""
HOLD = 16
"""Finished requests that are served with the faster one before both are compared again."""


@dataclass(frozen=True)
class Comparison:
    """Where the comparison of a draft with target-only serving is.

    Attributes:
        steps: draft steps of a cycle to serve with now; 0 is target-only.
        since: the counters of this version and these steps when the current block began.
        rates: tokens per second of the blocks measured so far, by steps; both are there once it is decided.
    """

    steps: int
    since: ArmCounters
    rates: Mapping[int, float] = field(default_factory=dict)


def begin(state: EngineState, steps: int) -> Comparison:
    """Compare the live version with target-only serving, starting with the steps that it serves with now."""
    return Comparison(steps, state.arm(state.draft.live, steps))


def advance(comparison: Comparison, state: EngineState, drafted: int) -> Comparison:
    """The comparison after another read of the engine's state.

    Args:
        comparison: as the last read left it.
        state: the engine's.
        drafted: steps of a cycle with speculation on.
    """
    version = state.draft.live
    now, since = state.arm(version, comparison.steps), comparison.since
    if since.version != version or now.requests_finished < since.requests_finished:
        return begin(state, comparison.steps)
    decided = {0, drafted} <= comparison.rates.keys()
    finished = now.requests_finished - since.requests_finished
    if finished < (HOLD if decided else BLOCK):
        return comparison
    if decided:
        return begin(state, comparison.steps)
    seconds = now.decode_seconds - since.decode_seconds
    if seconds <= 0:
        return comparison
    rates = {**comparison.rates, comparison.steps: (now.decode_tokens - since.decode_tokens) / seconds}
    untried = {0, drafted} - rates.keys()
    # Equal speeds serve target-only: a draft that gains nothing costs memory traffic and the machine's other work.
    steps = untried.pop() if untried else drafted if rates[drafted] > rates[0] else 0
    return replace(comparison, steps=steps, since=state.arm(version, steps), rates=rates)
