"""Limits of one's own: a breach counts once it lasted for several analyses, because a query is noisy."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aurora_operator.api.promotion import Guard
from aurora_operator.promotion.gate import GuardResult


def rows(results: Sequence[GuardResult], before: Mapping[str, int]) -> dict[str, int]:
    """At how many analyses in a row each guard is breached; one that is not known now keeps its count."""
    counts = {
        one.name: before.get(one.name, 0) + (one.breached is True) for one in results if one.breached is not False
    }
    return {name: count for name, count in counts.items() if count}


def confirmed(
    guards: Sequence[Guard], results: Sequence[GuardResult], breaches: Mapping[str, int]
) -> tuple[GuardResult, ...]:
    """The results, breached only where the guard has been for long enough, and not known until then.

    Args:
        guards: as the spec has them.
        results: of this analysis.
        breaches: at how many analyses in a row each is breached, this one included.
    """
    settings = {guard.name: guard for guard in guards}
    return tuple(_confirmed(settings.get(one.name), one, breaches.get(one.name, 0)) for one in results)


def _confirmed(guard: Guard | None, result: GuardResult, count: int) -> GuardResult:
    if guard is None or not result.breached:
        return result
    if guard.dry_run:
        return replace(result, breached=False, message=f"dry run: {result.message}")
    if count < guard.for_analyses:
        return replace(result, breached=None, message=f"{result.message}, at {count} of {guard.for_analyses} analyses")
    return result


def references(results: Sequence[GuardResult]) -> dict[str, float]:
    """Stable's values of guards that compare with it."""
    return {one.name: one.reference for one in results if one.reference is not None}
