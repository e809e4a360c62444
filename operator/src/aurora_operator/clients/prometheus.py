"""A Prometheus-compatible API: instant queries, of raw samples and of single numbers."""

import functools
import math
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any

import httpx
from aurora_core.bounded import SHOWN, AnswerError, BoundedClient

from aurora_operator.errors import PrometheusError, TooManySamplesError
from aurora_operator.promotion.counters import Series

_TIMEOUT, _CONNECT = 15.0, 5.0
"""Seconds of a question in all, and of connecting."""
_MOST_BYTES = 32 << 20
"""Of an answer: some 200,000 samples."""
_UNAUTHORIZED = {401, 403}
LIMIT = 200_000
"""Samples of an answer at most."""
LONGEST_SECONDS, SHORTEST_SECONDS = 1200.0, 30.0
"""Of a piece of time that is asked for at once."""


@dataclass(frozen=True)
class Credentials:
    """What a server asks for.

    Attributes:
        token: bearer token, or empty.
        basic: user and password.
        authority: PEM of the certificate authority of an https URL, or empty for the system's.
        certificate: PEM of the client's certificate and key (mTLS).
    """

    token: str = ""
    basic: tuple[str, str] | None = None
    authority: str = ""
    certificate: tuple[str, str] | None = None


@functools.cache
def _usual_context() -> ssl.SSLContext:
    """The usual authorities, loaded once: that takes longer than many a query."""
    return httpx.create_ssl_context()


def _context(credentials: Credentials) -> ssl.SSLContext:
    if not (credentials.authority or credentials.certificate):
        return _usual_context()
    try:
        context = ssl.create_default_context(cadata=credentials.authority or None)
        if credentials.certificate is not None:
            # The standard library reads certificates from files only.
            with NamedTemporaryFile("w", suffix=".pem") as file:
                file.write("\n".join(credentials.certificate))
                file.flush()
                context.load_cert_chain(file.name)
    except (ssl.SSLError, OSError, ValueError) as error:
        kind = type(error).__name__
        raise PrometheusError(f"the certificates in promotion.prometheus' secrets cannot be used ({kind})") from None
    return context


class Prometheus:
    """One server.

    Args:
        url: base URL.
        credentials: what it asks for.

    Raises:
        PrometheusError: the credentials make no sense.
    """

    def __init__(self, url: str, credentials: Credentials = Credentials()) -> None:
        headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
        self._http = BoundedClient(
            url,
            headers=headers,
            auth=credentials.basic,
            verify=_context(credentials),
            seconds=_TIMEOUT,
            connect_seconds=_CONNECT,
            most_bytes=_MOST_BYTES,
        )

    def query(self, query: str, time: float) -> tuple[str, list[Any]]:
        """The type and the result of an instant query, as Prometheus writes them.

        Raises:
            PrometheusError: no answer, or a refusal.
        """
        try:
            form = {"query": query, "time": f"{time:.3f}"}
            status, body = self._http.request("POST", "/api/v1/query", form=form)
        except AnswerError as error:
            raise PrometheusError(f"Prometheus: {error}") from None
        match body:
            case {"status": "success", "data": {"resultType": str(kind), "result": list(result)}}:
                return kind, result
            case {"error": problem}:
                shown = str(problem)[:SHOWN]
                raise PrometheusError(f"Prometheus at {self._http.url} refused {query!r}: {shown}")
        if status in _UNAUTHORIZED:
            raise PrometheusError(
                f"Prometheus at {self._http.url} answers {status}: check promotion.prometheus' credentials"
            )
        raise PrometheusError(f"{self._http.url} answers {query!r} with {status} and not as a Prometheus does")

    def raw(self, selector: str, start: float, end: float) -> list[Series]:
        """Raw samples of all series of a selector from ``start`` to ``end``, seconds since the epoch.

        Raises:
            TooManySamplesError: more samples than an answer may have.
            PrometheusError: no answer, or a refusal.
        """
        seconds = max(1, math.ceil(end - start))
        _, result = self.query(f"{selector}[{seconds}s]", end)
        series = [
            Series(one["metric"], tuple((float(t), float(v)) for t, v in one.get("values", ()))) for one in result
        ]
        if sum(len(one.samples) for one in series) > LIMIT:
            raise TooManySamplesError(f"{selector} has more than {LIMIT} samples in {seconds} s")
        return series

    def pieces(self, selector: str, start: float, end: float) -> Iterator[list[Series]]:
        """The same piece by piece, ascending, each so short that its answer stays small with however many engines.

        Raises:
            PrometheusError: as :meth:`raw`.
        """
        length = LONGEST_SECONDS
        while start < end:
            until = min(end, start + length)
            try:
                yield self.raw(selector, start, until)
            except TooManySamplesError:
                if length <= SHORTEST_SECONDS:
                    raise
                length /= 2
            else:
                start = until

    def number(self, query: str, time: float) -> float | None:
        """The one number that a query gives; None for no result or NaN.

        Raises:
            PrometheusError: no answer, a refusal, or something else than one number.
        """
        match self.query(query, time):
            case ("vector", []):
                return None
            case ("vector", [{"value": [_, value]}]) | ("scalar", [_, value]):
                number = float(value)
                return None if math.isnan(number) else number
            case ("vector", several):
                raise PrometheusError(f"{query!r} gives {len(several)} series where one number is wanted: aggregate it")
            case (kind, _):
                raise PrometheusError(f"{query!r} gives a {kind} where one number is wanted")

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
