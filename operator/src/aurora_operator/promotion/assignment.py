"""Which pod serves which side now: a pure function of the trial and the clock, so nothing needs remembering."""

import hashlib
from collections.abc import Sequence


def _order(*parts: object) -> int:
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def slice_index(seconds: float, slice_seconds: int) -> int:
    """The time slice that a moment after the trial's start lies in."""
    return int(max(0.0, seconds) // slice_seconds)


def candidate_slice(trial: str, index: int) -> bool:
    """Whether the candidate serves in a slice: of each pair of slices one, at random, so that drift cancels."""
    first = _order(trial, index // 2) % 2 == 0
    return first == (index % 2 == 0)


def canaries(trial: str, rotation: int, pods: Sequence[str], count: int) -> set[str]:
    """The pods that serve the candidate: at random, others in each rotation, never all."""
    ordered = sorted(pods, key=lambda pod: _order(trial, rotation, pod))
    return set(ordered[: min(count, len(pods) - 1)])
