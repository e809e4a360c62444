"""Leader election by a Lease: of several operators of one installation, one acts, and the others stand by.

The rules are client-go's: a Lease is free where it has no holder, or where its record did not change for its duration
as seen by this process' own clock, so that clocks of different nodes are never compared. A holder that cannot renew
within the renewal deadline, which is shorter than the duration, ends.
"""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from socket import gethostname
from typing import Any, Protocol

from aurora_operator.errors import ClusterError

log = logging.getLogger(__name__)

LEASE = ("coordination.k8s.io/v1", "Lease")
DURATION_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 15, 10.0, 2.0
"""As client-go's defaults: of a Lease without renewal, of trying to renew before giving up, and between tries."""
_CONFLICT = 409
_LOST = 4
"""Exit status of a process that lost its Lease."""


class Leases(Protocol):
    """What is needed of the API server."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None."""

    def create(self, body: Mapping[str, Any]) -> None:
        """Make an object; ClusterError with status 409 where it is there already."""

    def replace(self, body: Mapping[str, Any]) -> None:
        """Replace an object; ClusterError with status 409 where it changed since it was read."""


@dataclass
class _Seen:
    record: Any
    at: float


class Election:
    """One candidate for a Lease.

    Args:
        leases: the API server.
        namespace, name: of the Lease.
        clock: monotonic seconds.
        identity: of this process; made up where empty.
        renew_seconds: without a renewal after which the process ends; shorter than the Lease lasts.
    """

    def __init__(
        self,
        leases: Leases,
        namespace: str,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        identity: str = "",
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._renew_seconds = renew_seconds
        self._leases = leases
        self._namespace, self._name = namespace, name
        self._clock = clock
        self.identity = identity or f"{gethostname()}_{uuid.uuid4()}"
        self._seen: _Seen | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def attempt(self) -> bool:
        """Acquire or renew the Lease once; returns whether this process has it.

        Raises:
            ClusterError: the API server refuses or does not answer.
        """
        found = self._leases.get(*LEASE, self._namespace, self._name)
        if found is None:
            return self._write(self._leases.create, self._body(None, 0))
        record = found.get("spec") or {}
        if self._seen is None or self._seen.record != record:
            self._seen = _Seen(record, self._clock())
        holder = record.get("holderIdentity") or ""
        duration = float(record.get("leaseDurationSeconds") or DURATION_SECONDS)
        if holder not in {"", self.identity} and self._clock() - self._seen.at < duration:
            return False
        transitions = int(record.get("leaseTransitions") or 0) + (holder != self.identity)
        return self._write(self._leases.replace, self._body(found, transitions))

    def acquire(self) -> None:
        """Wait until this process has the Lease."""
        log.info("waiting for the lease %s/%s as %s", self._namespace, self._name, self.identity)
        while True:
            try:
                if self.attempt():
                    break
            except ClusterError as error:
                log.warning("%s", error)
            self._stop.wait(RETRY_SECONDS)
        log.info("holding the lease %s/%s", self._namespace, self._name)

    def keep(self, lost: Callable[[], None] = lambda: os._exit(_LOST)) -> None:
        """Renew in a thread of its own until released; calls ``lost`` where that fails for too long.

        Args:
            lost: ends the process at once: whatever it does next may be undone by another leader, or undo its work.
        """
        self._thread = threading.Thread(target=self._renew, args=(lost,), daemon=True, name="lease")
        self._thread.start()

    def release(self) -> None:
        """Give the Lease up, so that another needs not wait for its end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            found = self._leases.get(*LEASE, self._namespace, self._name)
            if found is not None and found["spec"].get("holderIdentity") == self.identity:
                body = self._body(found, int(found["spec"].get("leaseTransitions") or 0))
                body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._write(self._leases.replace, body)
        except ClusterError as error:
            log.warning("the lease ends by itself: %s", error)

    def _renew(self, lost: Callable[[], None]) -> None:
        def end(why: str) -> None:
            log.error("the lease %s/%s %s: ending", self._namespace, self._name, why)
            lost()

        # A timer of its own: the request that renews may itself take too long.
        timer = self._timer(end)
        while not self._stop.wait(RETRY_SECONDS):
            following = self._timer(end)
            try:
                renewed = self.attempt()
            except ClusterError as error:
                log.warning("cannot renew the lease: %s", error)
                renewed = False
            if renewed:
                timer.cancel()
                timer = following
                continue
            following.cancel()
            if self._seen is not None and self._seen.record.get("holderIdentity") not in {"", self.identity}:
                end("has another holder")
                break
        timer.cancel()

    def _timer(self, end: Callable[[str], None]) -> threading.Timer:
        timer = threading.Timer(self._renew_seconds, end, (f"was not renewed for {self._renew_seconds:g} s",))
        timer.daemon = True
        timer.start()
        return timer

    def _write(self, write: Callable[[Mapping[str, Any]], None], body: Mapping[str, Any]) -> bool:
        try:
            write(body)
        except ClusterError as error:
            if error.status == _CONFLICT:
                return False
            raise
        self._seen = _Seen(body["spec"], self._clock())
        return True

    def _body(self, found: Mapping[str, Any] | None, transitions: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (found or {}).get("spec") or {}
        same = before.get("holderIdentity") == self.identity
        metadata = {"namespace": self._namespace, "name": self._name}
        if found is not None:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": before.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        return {"apiVersion": LEASE[0], "kind": LEASE[1], "metadata": metadata, "spec": spec}
