"""Watches of the operator's own objects, for their versions alone.

What is requested is PartialObjectMetadata under the operator's label, page by page: no data, spec or status of an
object is ever received here, whoever put the label on it. Who needs a body reads it by name when its version moved.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aurora_operator import metrics
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.versions import ObjectKey, Version, Versions
from aurora_operator.errors import ClusterError
from aurora_operator.render.identity import MANAGED_BY, speculator

log = logging.getLogger(__name__)

KINDS = (
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
"""Secrets are not among them: the right to watch their metadata is the right to read all of them."""
_PAGE = 50
_MOST_LINE = 2 << 20
"""Bytes of one event; etcd stores no larger object."""
_WATCH_SECONDS = 240
_RETRY_SECONDS = 1.0, 30.0

Changed = Callable[[str, str], None]
"""Is called with namespace and owner of each object that changed."""


class _ExpiredError(Exception):
    """The API server no longer knows the version to watch from, or its answer cannot be read: list again."""


def _version(metadata: Mapping[str, Any]) -> Version:
    return Version(str(metadata.get("resourceVersion", "")), speculator(metadata.get("labels") or {}))


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of a stream, none longer than an event may be."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > _MOST_LINE:
            raise _ExpiredError


class Informer:
    """One thread for each kind and namespace.

    Args:
        cluster: the API server.
        versions: what is learned goes there.
        namespaces: to watch; all where empty.
        changed: is called from these threads.
    """

    def __init__(self, cluster: Cluster, versions: Versions, namespaces: tuple[str, ...], changed: Changed) -> None:
        self._cluster = cluster
        self._versions = versions
        self._changed = changed
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, args=(*kind, namespace), daemon=True, name=f"watch {kind[1]}")
            for kind in KINDS
            for namespace in namespaces or ("",)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; a request that waits is left to its time-out, as the threads end with the process."""
        self._stop.set()

    def _keep(self, api_version: str, kind: str, namespace: str) -> None:
        first, last = _RETRY_SECONDS
        wait = first
        while not self._stop.is_set():
            try:
                since = self._list(api_version, kind, namespace)
                wait = first
                while not self._stop.is_set():
                    began = time.monotonic()
                    since = self._watch(api_version, kind, namespace, since)
                    # A server that ends each watch at once is not asked without pause.
                    self._stop.wait(max(0.0, first - (time.monotonic() - began)))
            except _ExpiredError:
                self._versions.lost(api_version, kind, namespace)
                self._stop.wait(first)
            except Exception as error:  # noqa: BLE001 (a watch that ends for good would never be noticed)
                # Reconciles read each object from the API server until the watch is back.
                metrics.watch_failures.labels(kind).inc()
                text = str(error) if isinstance(error, ClusterError) else type(error).__name__
                log.warning("watching %s in %s: %s", kind, namespace or "all namespaces", text)
                self._versions.lost(api_version, kind, namespace)
                self._stop.wait(wait * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)
                wait = min(last, 2 * wait)

    def _list(self, api_version: str, kind: str, namespace: str) -> str:
        """List all; returns the version to watch from."""
        found: dict[ObjectKey, Version] = {}
        going, since = "", ""
        while True:
            page = self._cluster.metadata_page(api_version, kind, namespace, MANAGED_BY, _PAGE, going)
            for item in page.get("items") or ():
                metadata = item["metadata"]
                found[ObjectKey(api_version, kind, metadata["namespace"], metadata["name"])] = _version(metadata)
            since, going = page["metadata"]["resourceVersion"], page["metadata"].get("continue") or ""
            if not going:
                break
        for at, owner in self._versions.listed(api_version, kind, namespace, found):
            self._changed(at, owner)
        return str(since)

    def _watch(self, api_version: str, kind: str, namespace: str, since: str) -> str:
        """Follow what changes until the API server ends the watch; returns the version to resume from."""
        with self._cluster.metadata_watch(api_version, kind, namespace, MANAGED_BY, since, _WATCH_SECONDS) as chunks:
            for line in _lines(chunks):
                if not line:
                    continue
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _ExpiredError
                metadata = event["object"]["metadata"]
                since = metadata["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._take(event["type"], ObjectKey(api_version, kind, metadata["namespace"], metadata["name"]),
                               _version(metadata))  # fmt: skip
        return since

    def _take(self, event: str, key: ObjectKey, version: Version) -> None:
        if event == "DELETED":
            self._versions.gone(key)
            self._changed(key.namespace, version.owner)
        elif self._versions.note(key, version):
            self._changed(key.namespace, version.owner)
