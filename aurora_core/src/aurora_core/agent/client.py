"""Talks to an agent."""

import ssl
from typing import Any

import httpx

from aurora_core.bounded import SHOWN, AnswerError, BoundedClient
from aurora_core.errors import EngineError
from aurora_core.weights.volume import Volume

_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Agents speak HTTP; a context that trusts nobody is made in no time, httpx's own takes 30 ms for each client."""
_MOST_BYTES = 8 << 20
_CONNECT_SECONDS = 3.0
"""An agent answers at once or not at all: a node that is gone must not hold its caller as long as a load may take."""


class AgentClient:
    """The caller's end of the agent's interface.

    Every method raises EngineError where the agent, or the engine behind it, does not do as asked.
    """

    def __init__(self, url: str, token: str, timeout: float = 150) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = BoundedClient(
            url,
            headers=headers,
            verify=_PLAIN,
            seconds=timeout,
            connect_seconds=_CONNECT_SECONDS,
            most_bytes=_MOST_BYTES,
        )

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            status, answer = self._http.request(method, path, body=body)
        except AnswerError as error:
            raise EngineError(f"the agent: {error}") from None
        if not isinstance(answer, dict):
            raise EngineError(f"the agent at {self._http.url} answers with something else than an object")
        if status >= httpx.codes.BAD_REQUEST:
            raise EngineError(str(answer.get("error", status))[:SHOWN])
        return answer

    def live(self) -> dict[str, Any]:
        """The engine's state."""
        return self._call("GET", "/v1/live")

    def versions(self) -> list[dict[str, Any]]:
        """The manifests of all complete versions, ascending."""
        versions: list[dict[str, Any]] = self._call("GET", "/v1/versions")["versions"]
        return versions

    def volume(self) -> Volume:
        """How full the volume is."""
        told = self._call("GET", "/v1/volume")
        return Volume(int(told["free"]), int(told["total"]))

    def training(self) -> dict[str, Any]:
        """What the trainer last told of itself; empty before it told anything."""
        return self._call("GET", "/v1/training")

    def load(self, version: int) -> float:
        """Make a version live; returns the seconds that decoding waited."""
        return float(self._call("POST", "/v1/load", {"version": version})["stalled_seconds"])

    def set_steps(self, steps: int) -> None:
        """Draft this many steps a cycle; 0 switches speculation off."""
        self._call("POST", "/v1/steps", {"steps": steps})

    def set_sample_rate(self, rate: float) -> None:
        """Capture this share of requests."""
        self._call("POST", "/v1/sample-rate", {"rate": rate})

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
