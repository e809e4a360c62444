"""A Prometheus-compatible API: instant queries, of raw samples and of single numbers."""

import math
import ssl
from typing import Any

import httpx

from aurora_operator.errors import PrometheusError
from aurora_operator.promotion.measure import Series

_TIMEOUT = 15.0
LIMIT = 200_000
"""Samples of an answer at most; a window that needs more is a mistake somewhere, not evidence."""


class Prometheus:
    """One server.

    Args:
        url: base URL.
        token: bearer token, or empty.
        authority: PEM of the certificate authority of an https URL, or empty for the system's.
    """

    def __init__(self, url: str, token: str = "", authority: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        verify = ssl.create_default_context(cadata=authority) if authority else True
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, verify=verify)

    def _query(self, query: str, time: float) -> list[dict[str, Any]]:
        try:
            response = self._http.post("/api/v1/query", data={"query": query, "time": f"{time:.3f}"})
            body = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise PrometheusError(f"Prometheus at {self._http.base_url} does not answer: {error}") from error
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error", response.status_code) if isinstance(body, dict) else response.status_code
            raise PrometheusError(f"Prometheus at {self._http.base_url} refused {query!r}: {said}")
        result: list[dict[str, Any]] = body["data"]["result"]
        return result

    def raw(self, selector: str, start: float, end: float) -> list[Series]:
        """Raw samples of all series of a selector from ``start`` to ``end``, seconds since the epoch.

        Raises:
            PrometheusError: no answer, a refusal, or more samples than make sense.
        """
        seconds = max(1, math.ceil(end - start))
        result = self._query(f"{selector}[{seconds}s]", end)
        series = [
            Series(one["metric"], tuple((float(t), float(v)) for t, v in one.get("values", ()))) for one in result
        ]
        if sum(len(one.samples) for one in series) > LIMIT:
            raise PrometheusError(f"{selector} has more than {LIMIT} samples in {seconds} s")
        return series

    def number(self, query: str, time: float) -> float | None:
        """The one number that a query gives; None for no result or NaN.

        Raises:
            PrometheusError: no answer, a refusal, or more than one series.
        """
        result = self._query(query, time)
        if not result:
            return None
        if len(result) > 1:
            raise PrometheusError(f"{query!r} gives {len(result)} series where one number is wanted: aggregate it")
        value = float(result[0]["value"][1])
        return None if math.isnan(value) else value

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
