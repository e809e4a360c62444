"""Does an object still say what we said? Compared field by field, for what we say alone."""

from collections.abc import Mapping
from typing import Any

HASH = "aurora-operator.io/rendered"
"""Annotation with a hash of what was rendered: a field that we no longer name is only seen by it."""

_KEYS = ("mountPath", "name", "containerPort", "uid", "topologyKey", "port")


def holds(wanted: Any, live: Any) -> bool:  # noqa: ANN401 (JSON)
    """Whether ``live`` has everything that ``wanted`` names; what others added is theirs."""
    if isinstance(wanted, Mapping):
        # The API server leaves out what is empty.
        return isinstance(live, Mapping) and all(
            holds(value, live.get(name)) or (value in ({}, []) and not live.get(name)) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(live, list):
            return False
        by = next((k for k in _KEYS if wanted and all(isinstance(w, Mapping) and k in w for w in wanted)), None)
        if by is None:
            return len(wanted) == len(live) and all(map(holds, wanted, live))
        items = (item for item in live if isinstance(item, Mapping) and isinstance(item.get(by), str | int))
        found = {item[by]: item for item in items}
        return all(holds(item, found.get(item[by])) for item in wanted)
    if wanted is False and live is None:
        return True
    return bool(wanted == live)
