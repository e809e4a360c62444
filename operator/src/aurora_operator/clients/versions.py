"""Which version each of the operator's objects has, as its watches last reported: no bodies, a few strings for each."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple


class ObjectKey(NamedTuple):
    """API version, kind, namespace and name of one object."""

    api_version: str
    kind: str
    namespace: str
    name: str


class Version(NamedTuple):
    """Of one object.

    Attributes:
        resource_version: the API server's; compared for equality alone.
        owner: the resource that it is for, by its labels; empty where they do not say so.
    """

    resource_version: str
    owner: str


class Versions:
    """Thread-safe; written by watches and by whoever reads or writes an object, read by reconciles.

    A scope is what one watch covers: a kind in a namespace, or in all of them ("").
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[ObjectKey, Version] = {}
        self._owned: dict[tuple[str, str, str, str], dict[str, str]] = {}
        self._live: set[tuple[str, str, str]] = set()
        self.when_gone: Callable[[ObjectKey], None] = lambda _: None
        """Is called for each object that is there no more, while no other call is answered."""

    def covered(self, api_version: str, kind: str, namespace: str) -> bool:
        """Whether a watch is up to date on this kind there."""
        with self._lock:
            return bool({(api_version, kind, namespace), (api_version, kind, "")} & self._live)

    def get(self, key: ObjectKey) -> str | None:
        """The object's last known version, None where no watch has reported it."""
        with self._lock:
            found = self._known.get(key)
            return None if found is None else found.resource_version

    def owned(self, api_version: str, kind: str, namespace: str, owner: str) -> frozenset[tuple[str, str]]:
        """Names and versions of the objects that have this owner."""
        with self._lock:
            return frozenset(self._owned.get((api_version, kind, namespace, owner), {}).items())

    def note(self, key: ObjectKey, version: Version) -> bool:
        """An object has this version; returns whether that is new."""
        with self._lock:
            return self._note(key, version)

    def gone(self, key: ObjectKey) -> None:
        """An object is there no more."""
        with self._lock:
            self._forget(key)

    def listed(
        self, api_version: str, kind: str, namespace: str, found: Mapping[ObjectKey, Version]
    ) -> Iterable[tuple[str, str]]:
        """All objects of a scope; returns namespace and owner of those that are new, changed or gone."""
        with self._lock:
            scope = [
                key
                for key in self._known
                if (key.api_version, key.kind) == (api_version, kind) and namespace in {"", key.namespace}
            ]
            changed = {(key.namespace, self._known[key].owner) for key in scope if key not in found}
            for key in scope:
                if key not in found:
                    self._forget(key)
            changed |= {(key.namespace, version.owner) for key, version in found.items() if self._note(key, version)}
            self._live.add((api_version, kind, namespace))
        return changed

    def lost(self, api_version: str, kind: str, namespace: str) -> None:
        """The watch of a scope broke: until it is listed again, nothing is known there."""
        with self._lock:
            self._live.discard((api_version, kind, namespace))

    def _note(self, key: ObjectKey, version: Version) -> bool:
        before = self._known.get(key)
        if before == version:
            return False
        if before is not None:
            self._forget_owner(key, before)
        self._known[key] = version
        of = (key.api_version, key.kind, key.namespace, version.owner)
        self._owned.setdefault(of, {})[key.name] = version.resource_version
        return True

    def _forget(self, key: ObjectKey) -> None:
        self.when_gone(key)
        before = self._known.pop(key, None)
        if before is None:
            return
        self._forget_owner(key, before)

    def _forget_owner(self, key: ObjectKey, before: Version) -> None:
        of = (key.api_version, key.kind, key.namespace, before.owner)
        self._owned[of].pop(key.name, None)
        if not self._owned[of]:
            del self._owned[of]
