"""HTTP requests to a server that is not trusted: bounded in time, in bytes and in the shape of the answer.

The limits lie on the connection itself, so that they cover name resolution's addresses, the TLS handshake, headers and
body alike: a server that sends one byte a second is cut off at the deadline wherever it does so. Answers are never
decompressed. Errors are fixed texts: what a request carries (credentials) or an exception quotes appears in none.
"""

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import httpcore

from aurora_core.errors import AuroraError

Reason = Literal["unreachable", "late", "large", "encoded", "broken", "not-json"]
_MOST_CONTAINERS, _MOST_VALUES = 300_000, 1_200_000
"""JSON arrays and objects, and separated values, of an answer: `[],` costs twenty times its size in memory."""
_LARGE = 256 << 10
_parsing_large = threading.Lock()
"""Large answers are parsed one after another, so that their memory does not add up."""


class ExchangeError(AuroraError):
    """No usable answer.

    Attributes:
        reason: why, as a fixed value.
        status: the HTTP status of an answer that is not JSON; 0 otherwise.
    """

    def __init__(self, reason: Reason, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.reason, self.status = reason, status


@dataclass(frozen=True)
class Limits:
    """Of one request and its answer.

    Attributes:
        seconds: from its start to the last byte of its answer.
        connect_seconds: until there is a connection to one address.
        size: bytes of the answer, headers included.
    """

    seconds: float
    connect_seconds: float = 3.0
    size: int = 1 << 20


@dataclass(frozen=True)
class Answer:
    """Of a server, whatever it says.

    Attributes:
        status: of HTTP.
        headers: names in lower case; the last of several of a name.
        body: its bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Budget:
    until: float
    size: int

    def seconds(self, requested: float | None = None) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if requested is None else min(left, requested)

    def take(self, count: int) -> None:
        self.size -= count
        if self.size < 0:
            raise ExchangeError("large", "its answer is too large")


_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))
_budget: ContextVar[_Budget] = ContextVar("budget")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give all requests of this block together so much time."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


class _Stream(httpcore.NetworkStream):
    """A connection that obeys the budget of whoever uses it now."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        budget = _budget.get()
        data = self._inner.read(max_bytes, budget.seconds(timeout))
        budget.take(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _budget.get().seconds(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _budget.get().seconds(timeout)))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 (the interface's own)
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects within the budget, however many addresses a name has."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception = httpcore.ConnectError()
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            seconds = _budget.get().seconds(timeout)
            try:
                return _Stream(self._inner.connect_tcp(str(address[0]), port, seconds, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error


def _unreachable(error: Exception) -> str:
    """Why there is no connection, in the operating system's or OpenSSL's fixed messages."""
    if isinstance(error, httpcore.ConnectTimeout | httpcore.ProxyError):
        late = isinstance(error, httpcore.ConnectTimeout)
        return "no connection in time" if late else "the proxy refuses to connect to it"
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {at.verify_message}"
        if isinstance(at, ssl.SSLError):
            return f"no TLS connection: {at.reason or 'handshake failed'}"
        if isinstance(at, socket.gaierror):
            return "its name cannot be resolved"
        if isinstance(at, OSError) and at.errno:
            return f"no connection: {os.strerror(at.errno)}"
        at = at.__cause__ or at.__context__
    return "no connection"


_FAILURES = (httpcore.NetworkError, httpcore.ProxyError, httpcore.TimeoutException, httpcore.ProtocolError,
             httpcore.UnsupportedProtocol, OSError, UnicodeError)  # fmt: skip


def _failure(error: Exception, limits: Limits) -> ExchangeError:
    """What a request failed with, as one of the fixed messages."""
    match error:
        case httpcore.ConnectTimeout() | httpcore.ProxyError() | httpcore.ConnectError() | socket.gaierror():
            return ExchangeError("unreachable", _unreachable(error))
        case httpcore.TimeoutException():
            return ExchangeError("late", f"no complete answer within {limits.seconds:g} s")
        case httpcore.NetworkError() | OSError():
            return ExchangeError("broken", "the connection broke off")
        case UnicodeError():
            return ExchangeError("broken", "a name or header is no valid text")
    return ExchangeError("broken", "request and answer are no valid HTTP")


def parsed(body: bytes) -> Any:  # noqa: ANN401 (JSON)
    """An answer's JSON.

    Raises:
        ExchangeError: none, or of more parts than memory should hold.
    """
    if body.count(b"[") + body.count(b"{") > _MOST_CONTAINERS or body.count(b",") > _MOST_VALUES:
        raise ExchangeError("large", "its answer has too many parts")
    try:
        if len(body) <= _LARGE:
            return json.loads(body)
        with _parsing_large:
            return json.loads(body)
    except (ValueError, RecursionError):
        pass
    page = body.lstrip()[:1] == b"<"
    raise ExchangeError("not-json", f"its answer is {'a web page and ' if page else ''}not JSON")


def _pool(context: ssl.SSLContext, proxy: str) -> httpcore.ConnectionPool:
    """Connections, one at a time; by a proxy where one is named."""
    if not proxy:
        return httpcore.ConnectionPool(
            ssl_context=context, max_connections=1, keepalive_expiry=5.0, network_backend=_Backend()
        )
    at = urlsplit(proxy)
    if at.scheme not in {"http", "https"} or not at.hostname:
        raise ExchangeError("unreachable", "its proxy is not one of http or https")
    return httpcore.HTTPProxy(
        f"{at.scheme}://{at.netloc.rpartition('@')[2]}",
        proxy_auth=(unquote(at.username), unquote(at.password or "")) if at.username else None,
        ssl_context=context,
        max_connections=1,
        keepalive_expiry=5.0,
        network_backend=_Backend(),
    )


class Exchange:
    """Requests to one server.

    Args:
        url: its base URL.
        headers: sent with each request.
        context: for https.
        limits: of each request.
        proxy: URL of the proxy that leads there; empty for none, whatever the environment says.

    Raises:
        ExchangeError: the URL is none, or the proxy's is none.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], context: ssl.SSLContext, limits: Limits, proxy: str = ""
    ) -> None:
        self.url = url.rstrip("/")
        self._limits = limits
        fixed = {"Accept": "application/json", "Accept-Encoding": "identity"}
        # As bytes: the library quotes text that is not ASCII in its error.
        self._headers = [
            (name.encode(), given.encode(errors="replace")) for name, given in (fixed | dict(headers)).items()
        ]
        self._pool = _pool(context, proxy)
        try:
            at = httpcore.URL(self.url)
        except ValueError:
            at = None
        if at is None or at.scheme not in {b"http", b"https"} or not at.host:
            raise ExchangeError("unreachable", "its URL is not one of http or https")
        host = at.host.decode() if b":" not in at.host else f"[{at.host.decode()}]"
        self._headers.append((b"Host", (host if at.port is None else f"{host}:{at.port}").encode()))

    def json(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer.

        Raises:
            ExchangeError: there is none within the limits.
        """
        found = self.request(method, path, body, kind)
        try:
            return found.status, parsed(found.body)
        except ExchangeError as error:
            error.status = found.status if error.reason == "not-json" else 0
            raise

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An answer as it is.

        Args:
            method: of HTTP.
            path: below the base URL.
            body: None where the request has none.
            kind: the body's media type.
            headers: of this request, beside those of all.

        Raises:
            ExchangeError: there is none within the limits.
        """
        limits = self._limits
        sent = [*self._headers, (b"Content-Length", b"%d" % len(body or b""))]
        sent += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if body is not None:
            sent.append((b"Content-Type", kind.encode()))
        until = min(_deadline.get(), time.monotonic() + limits.seconds)
        token = _budget.set(_Budget(until, limits.size))
        waits = {"connect": limits.connect_seconds, "read": limits.seconds, "write": limits.seconds, "pool": 1.0}
        failed = None
        try:
            with self._pool.stream(
                method, f"{self.url}{path}", headers=sent, content=body, extensions={"timeout": waits}
            ) as answer:
                named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
                if named.get("content-encoding", "identity").strip().lower() != "identity":
                    raise ExchangeError("encoded", "its answer is compressed, though identity was asked for")
                data = b"".join(answer.iter_stream())
        except _FAILURES as error:
            failed = _failure(error, limits)
        finally:
            _budget.reset(token)
        if failed is not None:
            # Raised out here: not even the context of the error holds what the request carried.
            raise failed
        return Answer(answer.status, named, data)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()
