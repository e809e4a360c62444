"""The API server behind a cache that is never older than what the watches reported.

A body is held, as compressed JSON, with its version, and used while its watch reports that same version. Where there is
no watch to rely on (Secrets, claims of others), a body is read again when it is older than an allowance that grows with
the number of resources, so that the requests of a fleet at rest stay few; where a watch broke, it is read each time.
What the operator itself writes is held from the answer, so that it always reads its own writes.
"""

import json
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kubernetes.dynamic import DynamicClient

from aurora_operator.api import GROUP, KIND, VERSION
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.informer import KINDS
from aurora_operator.clients.versions import ObjectKey, Version, Versions
from aurora_operator.errors import ClusterError
from aurora_operator.render.identity import INSTANCE, MANAGER, speculator
from aurora_operator.render.route import KINDS as ROUTES

_LARGEST = 256 << 10
"""Bytes of a body that is held; a larger one is read at every reconcile."""
_LONGEST_SECONDS = 3600.0, 7200.0
"""A body is read again after so long even where its watch is silent; some sooner, so that a fleet that was read at once
is not read again at once."""
_UNWATCHED_SECONDS = 6.0, 200.0
"""The least and the greatest age of a body that no watch covers."""
_SECONDS_FOR_EACH = 2.0
"""Of that age, for each resource."""
RESOURCE = (f"{GROUP}/{VERSION}", KIND)
CLAIM = ("v1", "PersistentVolumeClaim")
"""One that the spec names may be there without the operator's label, and is used as it is."""


class _Held(NamedTuple):
    version: str
    """Empty for an object that is not there."""
    at: float
    text: bytes


class _HeldList(NamedTuple):
    versions: frozenset[tuple[str, str]]
    at: float
    text: bytes


def _longest(key: tuple[str, ...]) -> float:
    """Seconds that a body is held at most."""
    first, last = _LONGEST_SECONDS
    return first + (last - first) * zlib.crc32("/".join(key).encode()) / (1 << 32)


def _packed(body: Any) -> bytes:  # noqa: ANN401 (JSON)
    return json.dumps(body, separators=(",", ":")).encode()


def _small(text: bytes) -> bytes:
    """Compressed: managed fields repeat every name of a body."""
    return zlib.compress(text, 1)


def _unpacked(text: bytes) -> Any:  # noqa: ANN401 (JSON)
    return json.loads(zlib.decompress(text))


def _without_managers(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body without metadata.managedFields, which is half of many."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}


def _with_managers(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body, with who has which of its fields where the operator applied it, and of a route."""
    entries = [one for one in body["metadata"].get("managedFields") or () if isinstance(one, Mapping)]
    kept = [
        {name: one.get(name) for name in ("manager", "operation", "fieldsV1")}
        for one in entries
        if not one.get("subresource") or one.get("subresource") == "scale"
    ]
    found = _without_managers(body)
    applied = any((one["manager"], one["operation"]) == (MANAGER, "Apply") for one in kept)
    if applied or (body.get("apiVersion"), body.get("kind")) in ROUTES.values():
        found["metadata"]["managedFields"] = kept
    return found


class CachedCluster(Cluster):
    """As :class:`Cluster`, with fewer requests.

    Args:
        connection: to the API server.
        versions: filled by watches.
        clock: seconds.
    """

    def __init__(
        self, connection: DynamicClient, versions: Versions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(connection)
        self._versions = versions
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[ObjectKey, _Held] = {}
        self._lists: dict[tuple[str, str, str, str], _HeldList] = {}
        self._swept = clock()
        versions.when_gone = self._drop
        self.resources = 0
        """How many are reconciled; sets the age that unwatched bodies may have."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None where there is none."""
        key = ObjectKey(api_version, kind, namespace, name)
        with self._lock:
            held = self._held.get(key)
        if held is not None and self._is_current(key, held):
            return None if not held.version else _unpacked(held.text)
        found = super().get(api_version, kind, namespace, name)
        body = None if found is None else _with_managers(found)
        self._hold(key, body)
        return body

    def list(self, api_version: str, kind: str, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """The objects of a kind that have these labels, among them the one of their owner."""
        at = (api_version, kind, namespace, labels.get(INSTANCE, ""))
        known = self._versions.owned(*at)
        with self._lock:
            held = self._lists.get(at)
        recent = held is not None and self._clock() - held.at < _longest(at)
        if held is not None and recent and held.versions == known and self._versions.covered(*at[:3]):
            found: list[dict[str, Any]] = _unpacked(held.text)
            return found
        found = [_without_managers(body) for body in super().list(api_version, kind, namespace, labels)]
        text = _packed(found)
        versions = frozenset((one["metadata"]["name"], one["metadata"]["resourceVersion"]) for one in found)
        with self._lock:
            if len(text) <= 4 * _LARGEST:
                self._lists[at] = _HeldList(versions, self._clock(), _small(text))
            else:
                self._lists.pop(at, None)
        return found

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply; see :meth:`Cluster.apply`.

        Raises:
            ClusterError: also where an object was taken for absent and is there now (409): it may be another's.
        """
        metadata = body["metadata"]
        key = ObjectKey(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])
        with self._lock:
            held = self._held.get(key)
        if held is None or not held.version:
            appeared = super().get(*key)
            if appeared is not None:
                self._hold(key, _with_managers(appeared))
                raise ClusterError(f"{key.kind} {key.namespace}/{key.name} appeared meanwhile", 409)
        try:
            made = _with_managers(super().apply(body))
        except ClusterError:
            self._drop(key)
            raise
        self._hold(key, made)
        return made

    def patch(
        self, api_version: str, kind: str, namespace: str, name: str, change: Mapping[str, Any] | Sequence[Any]
    ) -> dict[str, Any]:
        """Change what a patch names; see :meth:`Cluster.patch`."""
        key = ObjectKey(api_version, kind, namespace, name)
        # Also where it fails: a JSON patch does so where the object is no longer as it was read.
        self._drop(key)
        made = super().patch(api_version, kind, namespace, name, change)
        if key[:2] not in KINDS:
            self._hold(key, _with_managers(made))
        return made

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Delete an object and what it owns."""
        self._drop(ObjectKey(api_version, kind, namespace, name))
        super().delete(api_version, kind, namespace, name)

    def write_status(
        self, namespace: str, name: str, status: Mapping[str, Any], resource_version: str
    ) -> dict[str, Any]:
        """Replace the status, unless the resource changed since it was read."""
        key = ObjectKey(*RESOURCE, namespace, name)
        try:
            written = _without_managers(super().write_status(namespace, name, status, resource_version))
        except ClusterError:
            self._drop(key)
            raise
        self._hold(key, written)
        return written

    def forget(self, namespace: str, name: str) -> None:
        """A resource is gone: drop what is held for it."""
        with self._lock:
            for key in [key for key in self._held if key.namespace == namespace and _is_of(key.name, name)]:
                del self._held[key]
            for at in [at for at in self._lists if at[2:] == (namespace, name)]:
                del self._lists[at]
        self._versions.gone(ObjectKey(*RESOURCE, namespace, name))

    def _is_current(self, key: ObjectKey, held: _Held) -> bool:
        age, known = self._clock() - held.at, self._versions.get(key)
        if known is not None:
            covered = key[:2] == RESOURCE or self._versions.covered(*key[:3])
            return covered and known == held.version and age < _longest(key)
        # No watch has it: it is not there, or without the operator's label, or of a kind that is not watched.
        covered = key[:2] in KINDS and self._versions.covered(*key[:3])
        if key[:2] in KINDS and held.version and not covered:
            return False
        if covered and not held.version and key[:2] != CLAIM:
            # The watch shows one with the label as soon as it is there; one without is another's, and `apply` finds it.
            return age < _longest(key)
        least, most = _UNWATCHED_SECONDS
        return age < min(most, max(least, _SECONDS_FOR_EACH * self.resources))

    def _hold(self, key: ObjectKey, body: Mapping[str, Any] | None) -> None:
        if body is None:
            text, held = b"", _Held("", self._clock(), b"")
        else:
            text = _packed(body)
            held = _Held(body["metadata"]["resourceVersion"], self._clock(), _small(text))
        with self._lock:
            longest = _LONGEST_SECONDS[1]
            if held.at - self._swept > longest:
                # What no reconcile asked for lately: Secrets and claims that some resource named once.
                self._swept = held.at
                self._held = {k: v for k, v in self._held.items() if held.at - v.at < longest}
            if len(text) <= _LARGEST:
                self._held[key] = held
            else:
                self._held.pop(key, None)
        if body is not None and self._versions.get(key) is not None:
            # An event of before that arrives later only costs another read.
            owner = speculator(body["metadata"].get("labels") or {}) if key[:2] != RESOURCE else key.name
            self._versions.note(key, Version(held.version, owner))

    def _drop(self, key: ObjectKey) -> None:
        with self._lock:
            self._held.pop(key, None)


def _is_of(child: str, name: str) -> bool:
    return child == name or child.startswith(f"{name}-")
