"""The time and bytes that a request to a server that is not trusted may take, on the connection itself."""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import httpcore

from aurora_core.errors import AuroraError

Reason = Literal["unreachable", "late", "large", "encoded", "broken", "not-json"]


class ExchangeError(AuroraError):
    """No usable answer.

    Attributes:
        reason: why, as a fixed value.
        status: the HTTP status of an answer that is not JSON; 0 otherwise.
    """

    def __init__(self, reason: Reason, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.reason, self.status = reason, status


@dataclass
class Budget:
    """What one request may still take.

    Attributes:
        until: end of its time, by the monotonic clock.
        size: bytes of the answer that are left.
    """

    until: float
    size: int

    def seconds(self, requested: float | None = None) -> float:
        """That are left, or that are requested if these are fewer.

        Raises:
            httpcore.ReadTimeout: none.
        """
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if requested is None else min(left, requested)

    def take(self, count: int) -> None:
        """Count bytes that came.

        Raises:
            ExchangeError: too many.
        """
        self.size -= count
        if self.size < 0:
            raise ExchangeError("large", "its answer is too large")


DEADLINE: ContextVar[float] = ContextVar("deadline", default=float("inf"))
"""Of all requests of a block together."""
BUDGET: ContextVar[Budget] = ContextVar("budget")
"""Of the request that is under way."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give all requests of this block together so much time."""
    token = DEADLINE.set(min(DEADLINE.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        DEADLINE.reset(token)


class Stream(httpcore.NetworkStream):
    """A connection that obeys the budget of whoever uses it now."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As of the interface, within the budget."""
        budget = BUDGET.get()
        data = self._inner.read(max_bytes, budget.seconds(timeout))
        budget.take(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As of the interface, within the budget."""
        self._inner.write(buffer, BUDGET.get().seconds(timeout))

    def close(self) -> None:
        """As of the interface."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """As of the interface, within the budget."""
        return Stream(self._inner.start_tls(ssl_context, server_hostname, BUDGET.get().seconds(timeout)))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 (the interface's own)
        """As of the interface."""
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
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
        """To the first address of a name that answers.

        Raises:
            httpcore.ConnectError, httpcore.ConnectTimeout: none does.
        """
        error: Exception = httpcore.ConnectError()
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            seconds = BUDGET.get().seconds(timeout)
            try:
                return Stream(self._inner.connect_tcp(str(address[0]), port, seconds, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error
