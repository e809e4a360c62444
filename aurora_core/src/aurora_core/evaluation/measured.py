"""What a draft's verify cycles say of it: accept length, by position and by domain, with intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aurora_core.evaluation import intervals
from aurora_core.evaluation.accept import Accepted
from aurora_core.evaluation.intervals import Estimate

ALL = "all"


@dataclass(frozen=True)
class Part:
    """A domain, or all of them.

    Attributes:
        domain: its name.
        requests, cycles, tokens: how many.
        accept_length: tokens per verify cycle.
        positions: of each draft step, the share of proposals that were accepted of those that the target decided on;
            None where it never did.
    """

    domain: str
    requests: int
    cycles: int
    tokens: int
    accept_length: Estimate
    positions: tuple[float | None, ...]


@dataclass(frozen=True)
class Difference:
    """Two drafts on the same requests.

    Attributes:
        domain: of the requests.
        requests: how many.
        one, other: their accept lengths.
        difference: other minus one.
    """

    domain: str
    requests: int
    one: Estimate
    other: Estimate
    difference: Estimate


def _domains(domains: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Each domain and its requests, all of them first; one alone is all."""
    yield ALL, list(range(len(domains)))
    names = sorted(set(domains))
    if len(names) > 1:
        for name in names:
            yield name, [at for at, own in enumerate(domains) if own == name]


def _sums(accepted: Accepted, requests: Sequence[int]) -> tuple[list[float], list[float]]:
    counted = accepted.per_request
    return [float(counted[at][0]) for at in requests], [float(counted[at][1]) for at in requests]


def _position(accepted: Accepted, requests: Sequence[int], step: int) -> float | None:
    cycles = [cycle for at in requests for cycle in accepted.requests[at] if cycle.tried > step]
    return sum(cycle.accepted > step for cycle in cycles) / len(cycles) if cycles else None


def parts(accepted: Accepted, domains: Sequence[str], steps: int, confidence: float = 0.95) -> list[Part]:
    """All requests, and each domain where there are several.

    Args:
        accepted: the cycles of the requests.
        domains: of each request.
        steps: draft steps of a cycle.
        confidence: of the intervals.
    """
    found = []
    for domain, requests in _domains(domains):
        tokens, cycles = _sums(accepted, requests)
        length = intervals.ratio(tokens, cycles, confidence)
        positions = tuple(_position(accepted, requests, step) for step in range(steps))
        found.append(Part(domain, len(requests), int(sum(cycles)), int(sum(tokens)), length, positions))
    return found


def differences(one: Accepted, other: Accepted, domains: Sequence[str], confidence: float = 0.95) -> list[Difference]:
    """The other draft's accept length minus the one's, on the same requests; arguments else as of :func:`parts`."""
    found = []
    for domain, requests in _domains(domains):
        a, b = _sums(one, requests), _sums(other, requests)
        found.append(
            Difference(
                domain,
                len(requests),
                intervals.ratio(*a, confidence),
                intervals.ratio(*b, confidence),
                intervals.difference(a, b, confidence),
            )
        )
    return found
