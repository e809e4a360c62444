"""A Prometheus-compatible API: instant queries, of raw samples and of single numbers."""

import base64
import functools
import http
import math
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlencode

import httpx
from aurora_core.budget import ExchangeError
from aurora_core.exchange import Exchange, Limits

from aurora_operator.errors import PrometheusError, TooManySamplesError
from aurora_operator.promotion.counters import Series

_LIMITS = Limits(seconds=15.0, connect_seconds=5.0, size=8 << 20)
_MOST_TEXT = 300
"""Characters of a server's own error text that are passed on."""
LIMIT = 200_000
"""Samples of an answer at most."""
_ROUNDED_SECONDS = 1.0
"""By how much times of an answer may lie outside of those that were asked for, which are rounded."""
LONGEST_SECONDS, SHORTEST_SECONDS = 1200.0, 30.0
"""Of a piece of time that is asked for at once."""


@dataclass(frozen=True)
class Credentials:
    """What a server requires; no value appears in the representation.

    Attributes:
        token: bearer token, or empty.
        basic: user and password.
        authority: PEM of the certificate authority of an https URL, or empty for the system's.
        certificate: PEM of the client's certificate and key (mTLS).
        tenant: of a server that several share.
    """

    token: str = field(default="", repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    authority: str = field(default="", repr=False)
    certificate: tuple[str, str] | None = field(default=None, repr=False)
    tenant: str = ""

    @property
    def header(self) -> str:
        """The Authorization header's value, or empty."""
        if self.basic is not None:
            return f"Basic {base64.b64encode(':'.join(self.basic).encode()).decode()}"
        return f"Bearer {self.token}" if self.token else ""

    @property
    def headers(self) -> dict[str, str]:
        """All headers of a request."""
        shown = {"Authorization": self.header, "X-Scope-OrgID": self.tenant}
        return {name: value for name, value in shown.items() if value}

    def removed_from(self, text: str) -> str:
        """A server's text without the credentials, should it send them back."""
        sent = (self.token, self.header.rpartition(" ")[2], *(self.basic or ()))
        for one in sorted({one for one in sent if one}, key=len, reverse=True):
            text = text.replace(one, "[removed]")
        return text


@functools.cache
def _usual_context() -> ssl.SSLContext:
    """The usual authorities, loaded once: that takes longer than many a query."""
    return httpx.create_ssl_context()


def _context(credentials: Credentials) -> ssl.SSLContext:
    if not (credentials.authority or credentials.certificate):
        return _usual_context()
    try:
        context = ssl.create_default_context(cadata=credentials.authority or None)
    except (ssl.SSLError, OSError, ValueError, TypeError):
        context = None
    if context is None:
        raise PrometheusError("promotion.prometheus.caSecret contains no certificate that can be used")
    if credentials.certificate is None:
        return context
    try:
        # The standard library reads certificates from files only. An encrypted key is refused, not asked about.
        with NamedTemporaryFile("w", suffix=".pem") as file:
            file.write("\n".join(credentials.certificate))
            file.flush()
            context.load_cert_chain(file.name, password="")
    except (ssl.SSLError, OSError, ValueError, TypeError):
        pass
    else:
        return context
    raise PrometheusError(
        "promotion.prometheus.clientCertificateSecret: tls.crt and tls.key are no certificate and its unencrypted key"
    )


_MEANINGS = {
    404: "there is no query API below promotion.prometheus.url: check its path (Mimir's ends in /prometheus)",
    405: "there is no query API below promotion.prometheus.url: check its path (Mimir's ends in /prometheus)",
    429: "it has too many requests: the query is repeated later",
    502: "the proxy in front of it gets no answer from it: check that it is up",
    503: "the proxy in front of it gets no answer from it: check that it is up",
    504: "the proxy in front of it gets no answer from it: check that it is up",
    200: "promotion.prometheus.url leads to something else, such as a login page or a user interface",
}


def refusal(status: int, credentials: Credentials) -> str:
    """What an HTTP status means that is no answer of the query API, and what to do; empty for one that says nothing."""
    if status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
        shown = "those of promotion.prometheus" if credentials.header or credentials.certificate else "none were sent"
        tenant = "; a server with tenants (Mimir, Cortex) needs promotion.prometheus.tenant"
        what = "accepts no" if status == http.HTTPStatus.UNAUTHORIZED else "forbids to query with these"
        return f"it {what} credentials ({shown})" + ("" if credentials.tenant else tenant)
    if 300 <= status < 400:  # noqa: PLR2004 (redirects)
        return "it redirects, perhaps to a login page: name the URL behind it"
    return _MEANINGS.get(status, "")


def _status(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _series(sent: Any) -> Series | None:  # noqa: ANN401 (JSON)
    """One of an answer's series; None where it is none."""
    try:
        labels = {str(name): str(value) for name, value in sent["metric"].items()}
        return Series(labels, tuple((float(t), float(v)) for t, v in sent.get("values", ())))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


class Prometheus:
    """One server.

    Args:
        url: base URL.
        credentials: what it asks for.
        proxy: URL of the proxy that leads to it, or empty.

    Raises:
        PrometheusError: the credentials make no sense.
    """

    def __init__(self, url: str, credentials: Credentials = Credentials(), proxy: str = "") -> None:
        self._url = url
        self._credentials = credentials
        self._by = " by the operator's proxy" if proxy else ""
        try:
            self._exchange = Exchange(url, credentials.headers, _context(credentials), _LIMITS, proxy)
        except ExchangeError as error:
            raise PrometheusError(f"Prometheus at {url} cannot be queried: {error}") from error

    def query(self, query: str, time: float) -> tuple[str, list[Any]]:
        """The type and the result of an instant query, as Prometheus writes them.

        Raises:
            TooManySamplesError: the answer is too large.
            PrometheusError: no answer, or a refusal.
        """
        form = urlencode({"query": query, "time": f"{time:.3f}"}).encode()
        try:
            status, body = self._exchange.json("POST", "/api/v1/query", form, "application/x-www-form-urlencoded")
        except ExchangeError as error:
            if error.reason == "large":
                raise TooManySamplesError(f"Prometheus at {self._url}, {query!r}: {error}: aggregate it") from error
            if error.reason == "not-json":
                raise self._strange(error.status, str(error)) from error
            raise PrometheusError(f"Prometheus at {self._url} does not answer{self._by}: {error}") from error
        match body:
            case {"status": "success", "data": {"resultType": str(kind), "result": list(result)}}:
                return kind, result
            case {"error": str(text)}:
                shown = self._credentials.removed_from(text)[:_MOST_TEXT]
                if status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
                    raise self._strange(status, f"it says: {shown}")
                raise PrometheusError(f"Prometheus at {self._url} refused {query!r}: {shown}")
        raise self._strange(status, "its answer is JSON, but not as a Prometheus answers")

    def _strange(self, status: int, what: str) -> PrometheusError:
        """An answer that is none of the query API."""
        meaning = refusal(status, self._credentials)
        means = f": {meaning}" if meaning else ""
        return PrometheusError(f"Prometheus at {self._url} answers {_status(status)}{means}; {what}")

    def raw(self, selector: str, start: float, end: float) -> list[Series]:
        """Raw samples of all series of a selector from ``start`` to ``end``, seconds since the epoch.

        Raises:
            TooManySamplesError: more samples than an answer may have.
            PrometheusError: no answer, or a refusal, or samples of another time: all that is counted by time slice
                would have as many slices as lie between.
        """
        seconds = max(1, math.ceil(end - start))
        _, result = self.query(f"{selector}[{seconds}s]", end)
        series = [found for one in result if (found := _series(one)) is not None]
        if len(series) < len(result):
            raise self._strange(http.HTTPStatus.OK, "its answer is JSON, but not as a Prometheus answers")
        if sum(len(one.samples) for one in series) > LIMIT:
            raise TooManySamplesError(f"{selector} has more than {LIMIT} samples in {seconds} s")
        first, last = end - seconds - _ROUNDED_SECONDS, end + _ROUNDED_SECONDS
        if not all(first <= time <= last for one in series for time, _ in one.samples):
            raise self._strange(http.HTTPStatus.OK, "its answer has samples of a time that was not asked for")
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
        """The one number that a query gives; None for no result, NaN, or one that is infinite, as a division by 0 is.

        Raises:
            PrometheusError: no answer, a refusal, or something else than one number.
        """
        match self.query(query, time):
            case ("vector", []):
                return None
            case ("vector", [{"value": [_, str(value)]}]) | ("scalar", [_, str(value)]):
                try:
                    number = float(value)
                except ValueError:
                    raise PrometheusError(f"{query!r} returned something other than a number") from None
                return number if math.isfinite(number) else None
            case ("vector", several):
                raise PrometheusError(f"{query!r} returned {len(several)} series instead of one number: aggregate it")
            case (kind, _):
                raise PrometheusError(f"{query!r} returned a {kind} instead of one number")

    def close(self) -> None:
        """Close the connection."""
        self._exchange.close()
