"""Two installations that watch one namespace: noticed, and not fought.

Each operator stamps the ConfigMap NAME-desired with its installation. Whoever finds another's stamp takes over, as
after a reinstallation under another name. Whoever finds another's stamp where its own was before has a rival: it stands
back for a while and marks the ConfigMap, so that the one that acts shows a condition.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

STAMP = "aurora-operator.io/operator"
"""Annotation with the installation that acts."""
MARK = "aurora-operator.io/rival"
"""Annotation with the installation that stands back, and when it last did."""
STAND_BACK = timedelta(minutes=10)
_FRESH = timedelta(minutes=15)
_AGAIN = timedelta(minutes=5)
_WRITTEN = "%Y-%m-%dT%H:%M:%SZ"


def marked(annotations: Mapping[str, str], now: datetime) -> tuple[str, timedelta]:
    """The installation that stands back and the age of its mark; empty where there is none, or an old one."""
    name, _, at = annotations.get(MARK, "").partition(" ")
    try:
        age = now - datetime.strptime(at, _WRITTEN).replace(tzinfo=UTC)
    except ValueError:
        return "", _FRESH
    return (name, age) if timedelta(0) <= age < _FRESH else ("", _FRESH)


class Claims:
    """What this process knows of its resources' ConfigMaps.

    Args:
        ours: this installation; empty where none is to be distinguished.
    """

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._claimed: set[str] = set()
        self._until: dict[str, datetime] = {}

    def stands_back(self, name: str, annotations: Mapping[str, str], now: datetime) -> bool:
        """Whether another installation acts on this resource, and this one must not."""
        found = annotations.get(STAMP, "")
        if not self._ours or found in {"", self._ours}:
            return False
        if name in self._claimed:
            self._claimed.discard(name)
            self._until[name] = now + STAND_BACK
        return now < self._until.get(name, now)

    def acted(self, name: str) -> None:
        """All that a resource needs was done, its stamp included."""
        self._claimed.add(name)

    def mark(self, annotations: Mapping[str, str], now: datetime) -> dict[str, str] | None:
        """The annotation to write while standing back, or None where it is recent."""
        name, age = marked(annotations, now)
        if name == self._ours and age < _AGAIN:
            return None
        return {MARK: f"{self._ours} {now.strftime(_WRITTEN)}"}

    def rival(self, annotations: Mapping[str, str], now: datetime) -> str:
        """The other installation, where one stands back for this one; empty otherwise."""
        name, _ = marked(annotations, now)
        return name if self._ours and name != self._ours else ""

    def forget(self, name: str) -> None:
        """A resource is gone."""
        self._claimed.discard(name)
        self._until.pop(name, None)


def annotations(body: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The annotations of an object; empty without one."""
    found: Mapping[str, str] = ((body or {}).get("metadata") or {}).get("annotations") or {}
    return found
