"""A first suspicion moves traffic back to stable; only a guard that stays breached rejects.

A guard that is breached at one analysis proves nothing, because a query is noisy. But users need not bear what it
suspects until it is proved: from that analysis on all pods serve stable, to the end of the block and for the next one,
and for as long as it stays breached. Those that were not begun have no candidate in them, and are no blocks of a trial.
The block that was cut short counts as lost for either bet of the trial (:mod:`aurora_operator.promotion.eprocess`), so
that a suspicion can neither promote nor reject anything, and costs power alone.
"""

from collections.abc import Sequence
from datetime import datetime

from aurora_operator.api.promotion import Guard
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import MOST_CUT, Candidate
from aurora_operator.promotion.assignment import block_index
from aurora_operator.promotion.gate import GuardResult


def suspected(guards: Sequence[Guard], results: Sequence[GuardResult]) -> GuardResult | None:
    """The first guard that is breached now, were it for the first time; a dry run suspects nobody."""
    watching = {guard.name for guard in guards if not guard.dry_run}
    return next((one for one in results if one.breached and one.name in watching), None)


def moved_back(spec: Spec, candidate: Candidate, now: datetime) -> Candidate:
    """The candidate without traffic from now on until the block after the next begins."""
    block = block_index(spec, candidate, now)
    dealt = candidate.resumes is None or block >= candidate.resumes
    cut = [*candidate.cut, block] if dealt and block not in candidate.cut else candidate.cut
    return candidate.model_copy(update={"cut": cut[:MOST_CUT], "resumes": block + 2})


def worn_out(candidate: Candidate, guard: GuardResult) -> GuardResult | None:
    """The breach that ends a trial whose blocks were cut short again and again, if they were."""
    if len(candidate.cut) < MOST_CUT:
        return None
    return GuardResult(guard.name, breached=True, message=f"{guard.message}, for the {MOST_CUT}th time in this trial")
