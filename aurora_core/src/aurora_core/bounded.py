"""HTTP to servers that are not trusted: an answer has a largest size, a latest time, and no compression.

An ordinary client's time-out is for each read, so that a server which sends a byte a second holds its caller for ever;
and a few kilobytes of compressed answer can become gigabytes. Here both end in :class:`AnswerError`.
"""

import json
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore
import httpx

from aurora_core.errors import AuroraError

SHOWN = 300
"""Characters of an answer that a message repeats at most."""


class AnswerError(AuroraError):
    """A server does not answer, or not within the limits.

    The message never repeats what the request carried, which may be a credential, nor the text of the library's
    exception, which may repeat it.
    """


class _Deadline(httpcore.NetworkBackend):
    """Gives every wait the time that is left of the request, however many waits there are."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()
        self.at = float("inf")

    def left(self, timeout: float | None) -> float:
        """Seconds that a wait may last."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if timeout is None else min(left, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """As the inner backend."""
        stream = self._inner.connect_tcp(host, port, self.left(timeout), local_address, socket_options)
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 (httpcore's own)
        return self._inner.get_extra_info(info)


class BoundedClient:
    """A client of one server, for one thread at a time.

    Args:
        url: base URL.
        headers: of every request; may carry credentials.
        auth: user and password.
        verify: TLS context.
        seconds: that a request may take in all.
        connect_seconds: that connecting may take.
        most_bytes: of an answer.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        verify: ssl.SSLContext,
        seconds: float,
        connect_seconds: float,
        most_bytes: int,
        auth: tuple[str, str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._deadline = _Deadline()
        transport = httpx.HTTPTransport(verify=verify)
        transport._pool = httpcore.ConnectionPool(  # noqa: SLF001 (httpx passes no network backend on)
            ssl_context=verify, network_backend=self._deadline, max_connections=1
        )
        self._http = httpx.Client(
            base_url=url,
            headers={**headers, "Accept-Encoding": "identity"},
            auth=auth,
            timeout=httpx.Timeout(seconds, connect=min(seconds, connect_seconds)),
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )

    def request(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, form: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer.

        Args:
            method: such as GET.
            path: below the base URL.
            body: sent as JSON.
            form: sent as a form.

        Raises:
            AnswerError: no answer, one beyond the limits, or one that is no JSON.
        """
        self._deadline.at = time.monotonic() + self._seconds
        try:
            with self._http.stream(method, path, json=body, data=form) as response:
                text = self._read(response)
        except httpx.TimeoutException as error:
            raise AnswerError(f"{self.url} does not answer within {self._seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError) as error:
            kind = type(error).__name__
            raise AnswerError(f"{self.url} does not answer ({kind})") from None
        try:
            return response.status_code, json.loads(text)
        except (ValueError, RecursionError):
            start = text[:SHOWN].decode(errors="replace")
            raise AnswerError(f"{self.url} answers {response.status_code} and no JSON: {start!r}") from None

    def _read(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise AnswerError(f"{self.url} compresses its answers, which was not asked for")
        text = bytearray()
        for chunk in response.iter_raw():
            text += chunk
            if len(text) > self._most_bytes:
                raise AnswerError(f"{self.url} answers with more than {self._most_bytes >> 20} MiB")
        return bytes(text)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
