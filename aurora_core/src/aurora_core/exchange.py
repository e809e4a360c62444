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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore

from aurora_core.budget import BUDGET, DEADLINE, Backend, Budget, ExchangeError

_MOST_CONTAINERS, _MOST_VALUES = 300_000, 1_200_000
"""JSON arrays and objects, and separated values, of an answer: `[],` costs twenty times its size in memory."""
_LARGE = 256 << 10
_parsing_large = threading.Lock()
"""Large answers are parsed one after another, so that their memory does not add up."""


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
            ssl_context=context, max_connections=1, keepalive_expiry=5.0, network_backend=Backend()
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
        network_backend=Backend(),
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
        until = min(DEADLINE.get(), time.monotonic() + limits.seconds)
        token = BUDGET.set(Budget(until, limits.size))
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
            BUDGET.reset(token)
        if failed is not None:
            # Raised out here: not even the context of the error has what the request carried.
            raise failed
        return Answer(answer.status, named, data)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()
