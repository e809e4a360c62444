"""Whether an object still matches what was applied. Compared field by field, for the fields that the operator sets."""

from collections.abc import Mapping
from typing import Any

HASH = "aurora-operator.io/rendered"
"""Annotation with a hash of what was rendered: a field that we no longer name is only seen by it."""

_KEYS = ("mountPath", "name", "containerPort", "uid", "topologyKey", "port")


def matches(desired: Any, live: Any) -> bool:  # noqa: ANN401 (JSON)
    """Whether ``live`` has everything that ``desired`` names; what others added is theirs."""
    if isinstance(desired, Mapping):
        # The API server leaves out what is empty.
        return isinstance(live, Mapping) and all(
            matches(value, live.get(name)) or (value in ({}, []) and not live.get(name))
            for name, value in desired.items()
        )
    if isinstance(desired, list):
        if not isinstance(live, list):
            return False
        by = next((k for k in _KEYS if desired and all(isinstance(w, Mapping) and k in w for w in desired)), None)
        if by is None:
            return len(desired) == len(live) and all(map(matches, desired, live))
        items = (item for item in live if isinstance(item, Mapping) and isinstance(item.get(by), str | int))
        found = {item[by]: item for item in items}
        return all(matches(item, found.get(item[by])) for item in desired)
    if desired is False and live is None:
        return True
    return bool(desired == live)
