"""Another client that undoes what the operator applies: noticed after a few rounds, named, and not fought.

What was last applied of each object is remembered, and how often in a row the same had to be applied again. An
operator that starts knows none of it, and notices again after as many rounds.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from aurora_core.printable import listed

from aurora_operator.reconcile.drift import holders, lost, readable
from aurora_operator.reconcile.snapshot import Applied, Key

ROUNDS = 3
"""So often the same is applied again, before the operator waits between two times."""
_FIRST_WAIT, _LAST_WAIT = timedelta(minutes=1), timedelta(minutes=30)
_MEMORY = timedelta(minutes=10)
"""Who undoes something less often than this is no opponent."""
_LINGER = timedelta(minutes=2)
"""After a try that nobody undoes, until that is believed."""
_MOST_FIELDS = 3


def wait(applied: Applied) -> timedelta:
    """Time from this application to the next one of the same."""
    if applied.rounds < ROUNDS:
        return timedelta(0)
    # More doublings than these would be cut anyway.
    doublings = min(applied.rounds - ROUNDS, 8)
    return min(_LAST_WAIT, _FIRST_WAIT * (1 << doublings))


def again(before: Applied | None, rendered: tuple[str, str], by: str, now: datetime) -> Applied:
    """What is remembered once an object was applied.

    Args:
        before: what was remembered of it.
        rendered: hashes of what was applied.
        by: who made that necessary; empty where the object was not there, or nobody did.
        now: the time.
    """
    same = before is not None and before.rendered == rendered and now - before.at < wait(before) + _MEMORY
    return Applied(rendered, now, before.rounds + 1 if before is not None and same and by else 0, by)


def held(applied: Applied | None, rendered: tuple[str, str], now: datetime) -> bool:
    """Whether an object is left as it is for now; what is rendered otherwise than before never is."""
    return applied is not None and applied.rendered == rendered and now < applied.at + wait(applied)


def contested(applied: Mapping[Key, Applied], now: datetime) -> dict[Key, str]:
    """The objects that another client fights over, and which client and field that is."""
    return {at: one.by for at, one in applied.items() if one.rounds >= ROUNDS and now < one.at + wait(one) + _LINGER}


def message(applied: Mapping[Key, Applied], namespace: str, now: datetime) -> str:
    """Who fights over the first of these objects, for people; empty where nobody does."""
    found = contested(applied, now)
    if not found:
        return ""
    (_, kind, name), by = min(found.items())
    return (
        f"{kind} {namespace}/{name}: {by}, again and again after this operator set it back. The operator now waits "
        "for up to half an hour between two tries: have the other client leave it, or set it in this resource"
    )


def culprit(desired: Mapping[str, Any], live: Mapping[str, Any]) -> str:
    """Who changed which fields of an object, for people."""
    fields: dict[str, list[str]] = {}
    for path in lost(desired, live):
        for manager in holders(live, path) or ["another client"]:
            fields.setdefault(manager, []).append(readable(path))
    if not fields:
        return "an admission webhook changes the annotations of what was rendered"
    return "; ".join(f"{manager} sets {listed(names, _MOST_FIELDS)}" for manager, names in sorted(fields.items()))


class Memory:
    """What this process applied, for each resource."""

    def __init__(self) -> None:
        self._applied: dict[str, dict[Key, Applied]] = {}

    def of(self, name: str) -> Mapping[Key, Applied]:
        """What is remembered of a resource's objects."""
        return dict(self._applied.get(name, {}))

    def note(self, name: str, applied: Iterable[tuple[Key, tuple[str, str], str]], now: datetime) -> None:
        """Objects of a resource were applied: key, hashes of what was rendered, and who made it necessary."""
        known = self._applied.setdefault(name, {})
        for at, rendered, by in applied:
            known[at] = again(known.get(at), rendered, by, now)

    def forget(self, name: str) -> None:
        """A resource is gone."""
        self._applied.pop(name, None)
