"""Samples through a Mooncake store (TCP or RDMA): bytes in the engine's own memory, fetched by the trainer.

The store keeps the bytes; a small authenticated request to the trainer's endpoint names it. A sample that
cannot be announced is removed again. What a dead engine held is lost: the trainer counts it and continues.
"""

import hmac
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from mooncake.store import MooncakeDistributedStore, ReplicateConfig, SoftPinAction
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aurora_core import listening
from aurora_core.config.parts import SamplesConfig
from aurora_core.errors import SampleError, TransportError

_CONNECT_SECONDS = 5
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_BEHIND = 507
_ANNOUNCEMENT_BYTES = 4096
_REASONS = {-900: "store_lost", -200: "store_full"}
"""By Mooncake's status: its master does not answer; no segment has the room."""


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url if "//" in url else f"//{url}")
    return parts.hostname or "127.0.0.1", parts.port or 80


def own_address(url: str) -> str:
    """The address of this machine that another one, at ``url``, would reach it by, of whichever family.

    Raises:
        OSError: there is no route to it.
    """
    failed: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(*_address(url), type=socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind, protocol) as probe:
                # Connecting a datagram socket sends nothing; it only picks the route.
                probe.connect(address)
                return str(probe.getsockname()[0])
        except OSError as error:
            failed = error
    raise failed or OSError(f"{url} has no address")


def endpoint(url: str) -> tuple[str, int]:
    """Host and port at which the trainer listens for what is announced at ``url``, which may be a Service's."""
    name, port = _address(url)
    return (name if name in _LOOPBACK else listening.host(listening.ALL)), port


class _Store:
    """A connection to the store, made at first use; Mooncake reconnects when its master comes back."""

    def __init__(self, config: SamplesConfig, segment_bytes: int) -> None:
        self._config = config
        self._segment_bytes = segment_bytes
        self._store: Any = None

    def _placing(self) -> Any:  # noqa: ANN401 (a C++ class without types)
        """How many segments hold a sample, and whether it is kept when room is made."""
        placing = ReplicateConfig()
        placing.replica_num = self._config.mooncake_replicas
        if self._config.mooncake_soft_pin:
            placing.soft_pin_action = SoftPinAction.ENABLE
        return placing

    def connected(self) -> Any:  # noqa: ANN401 (a C++ class without types)
        if self._store is None:
            c = self._config
            # The store's own setup waits for a minute and a half where nobody listens.
            for url in (c.mooncake_master, c.mooncake_metadata):
                try:
                    socket.create_connection(_address(url), _CONNECT_SECONDS).close()
                except OSError as error:
                    raise TransportError("store_lost", f"no Mooncake store at {url}: {error}") from error
            store = MooncakeDistributedStore()
            status = store.setup(
                own_address(c.mooncake_master),
                c.mooncake_metadata,
                self._segment_bytes,
                c.mooncake_buffer_bytes,
                c.mooncake_protocol,
                c.mooncake_device,
                c.mooncake_master,
            )
            if status != 0:
                raise TransportError("store_lost", f"no Mooncake store at {c.mooncake_master} (status {status})")
            self._store = store
        return self._store

    def put(self, name: str, payload: bytes) -> None:
        status = self.connected().put(name, payload, self._placing())
        if status != 0:
            raise TransportError(
                _REASONS.get(status, "store_error"), f"the Mooncake store did not take a sample (status {status})"
            )

    def size(self, name: str) -> int:
        """Bytes of what is stored under a name; negative where nothing is."""
        return int(self.connected().get_size(name))

    def get(self, name: str) -> bytes:
        payload: bytes = self.connected().get(name)
        return payload

    def remove(self, name: str) -> None:
        if self._store is not None:
            # Without force what was read stays for as long as the lease that reading it gave.
            self._store.remove(name, True)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


class MooncakeSink:
    """The engine's end."""

    def __init__(self, config: SamplesConfig, token: str) -> None:
        self._store = _Store(config, config.mooncake_segment_bytes)
        # In the cluster, so by no proxy that the environment names.
        self._http = httpx.Client(
            base_url=config.trainer_url, headers={"Authorization": f"Bearer {token}"}, timeout=5, trust_env=False
        )

    def put(self, name: str, payload: bytes) -> None:
        """Store a sample and announce it to the trainer."""
        self._store.put(name, payload)
        try:
            answer = self._http.post("/samples", json={"name": name})
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            self._store.remove(name)
            reason = "trainer_behind" if error.response.status_code == _BEHIND else "trainer_unreachable"
            raise TransportError(reason, f"the trainer did not take a sample: {error}") from error
        except httpx.HTTPError as error:
            self._store.remove(name)
            raise TransportError("trainer_unreachable", f"a sample could not be announced: {error}") from error

    def close(self) -> None:
        """Leave the store; what it held here is gone."""
        self._http.close()
        self._store.close()


@dataclass(frozen=True)
class _MooncakeDelivery:
    name: str
    store: _Store
    most_bytes: int
    age_seconds: float = 0.0

    def read(self) -> bytes:
        """Fetch the bytes and free them in the store.

        Raises:
            SampleError: there are more than a sample can have.
            TransportError: they are gone, or the store is.
        """
        size = self.store.size(self.name)
        if size > self.most_bytes:
            self.store.remove(self.name)
            raise SampleError("too_large", f"{self.name} has {size} bytes, and can have {self.most_bytes} at most")
        payload = self.store.get(self.name)
        if not payload:
            raise TransportError("gone", f"{self.name} is no longer in the Mooncake store")
        self.store.remove(self.name)
        return payload

    def done(self) -> None:
        """The store let go of it when it was read."""


async def _body(request: Request) -> bytes:
    """What was sent.

    Raises:
        ValueError: it is longer than any announcement.
    """
    found = b""
    async for chunk in request.stream():
        found += chunk
        if len(found) > _ANNOUNCEMENT_BYTES:
            raise ValueError
    return found


class MooncakeSource:
    """The trainer's end: an endpoint that takes names once it is started, and the store that has the bytes."""

    def __init__(self, config: SamplesConfig, token: str, most_bytes: int = 1 << 34) -> None:
        """Open it.

        Args:
            config: which store, and where it listens.
            token: that senders must show.
            most_bytes: of a sample.

        Raises:
            TransportError: there is no token.
        """
        if not token:
            raise TransportError("no_token", "the trainer's endpoint needs a token: set AURORA_SAMPLE_TOKEN")
        self._store = _Store(config, 0)
        self._most_bytes = most_bytes
        self._names: deque[str] = deque()
        self._most = config.pool_size
        self._expected = f"Bearer {token}".encode()
        host, port = endpoint(config.trainer_url)
        app = Starlette(routes=[Route("/samples", self._announce, methods=["POST"])])
        self._server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, name="aurora-samples", daemon=True)

    def start(self) -> None:
        """Start the endpoint."""
        self._thread.start()

    async def _announce(self, request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), self._expected):
            return JSONResponse({"error": "this needs the trainer's bearer token"}, status_code=401)
        try:
            name = json.loads(await _body(request))["name"]
        except (ValueError, KeyError, TypeError, RecursionError):
            name = None
        if not isinstance(name, str) or not name:
            return JSONResponse({"error": 'the body must be {"name": ...}'}, status_code=422)
        if len(self._names) >= self._most:
            return JSONResponse({"error": "the trainer is behind"}, status_code=_BEHIND)
        self._names.append(name)
        return JSONResponse({"name": name}, status_code=202)

    def poll(self) -> Iterator[_MooncakeDelivery]:
        """Samples announced since the last call."""
        for _ in range(len(self._names)):
            yield _MooncakeDelivery(self._names.popleft(), self._store, self._most_bytes)

    def backlog(self) -> int:
        """Announced samples that no call has yielded."""
        return len(self._names)

    def lost(self) -> Mapping[str, int]:
        """None: engines count what they cannot announce."""
        return {}

    def close(self) -> None:
        """Stop the endpoint and leave the store."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._store.close()
