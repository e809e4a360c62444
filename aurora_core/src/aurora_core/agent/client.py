"""Talks to an agent."""

import json
import ssl
from typing import Any

from pydantic import ValidationError

from aurora_core.errors import EngineError
from aurora_core.exchange import Exchange, ExchangeError, Limits
from aurora_core.weights.record import Record
from aurora_core.weights.volume import Volume

_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Agents speak HTTP; a context that trusts nobody is made in no time, the usual one takes 30 ms for each client."""
_CONNECT_SECONDS = 3.0
"""An agent answers at once or not at all: a node that is gone must not hold its caller as long as a load may take."""
_MOST_BYTES = 4 << 20
_MOST_TEXT = 500
"""Characters of an agent's refusal that are passed on."""
_BAD_REQUEST = 400


class AgentClient:
    """The caller's end of the agent's interface.

    Every method raises EngineError where the agent, or the engine behind it, does not do as asked.
    """

    def __init__(self, url: str, token: str, timeout: float = 150) -> None:
        limits = Limits(timeout, connect_seconds=min(timeout, _CONNECT_SECONDS), size=_MOST_BYTES)
        self._url = url
        try:
            self._exchange = Exchange(url, {"Authorization": f"Bearer {token}"}, _PLAIN, limits)
        except ExchangeError as error:
            raise EngineError(f"the agent at {url} cannot be reached: {error}") from error

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            content = None if body is None else json.dumps(body).encode()
            status, answer = self._exchange.json(method, path, content)
        except ExchangeError as error:
            raise EngineError(f"the agent at {self._url} does not answer: {error}") from error
        if not isinstance(answer, dict):
            raise EngineError(f"the agent at {self._url} answers {path} with something else than a JSON object")
        if status >= _BAD_REQUEST:
            raise EngineError(str(answer.get("error", status))[:_MOST_TEXT])
        return answer

    def live(self) -> dict[str, Any]:
        """The engine's state."""
        return self._call("GET", "/v1/live")

    def versions(self) -> list[dict[str, Any]]:
        """The manifests of all complete versions, ascending, each with its digest."""
        return self.contents()[0]

    def contents(self) -> tuple[list[dict[str, Any]], dict[str, str], Record | None]:
        """The manifests of all versions that can be read, what is wrong with the others, and what promotion decided."""
        answer = self._call("GET", "/v1/versions")
        kept = answer.get("record")
        try:
            found = None if kept is None else Record.model_validate(kept)
        except ValidationError:
            found = None
        return list(answer["versions"]), dict(answer.get("damaged") or {}), found

    def keep_record(self, record: Record) -> None:
        """Keep what promotion decided on the volume."""
        self._call("POST", "/v1/record", record.model_dump(mode="json"))

    def volume(self) -> Volume:
        """How full the volume is."""
        told = self._call("GET", "/v1/volume")
        return Volume(int(told["free"]), int(told["total"]))

    def training(self) -> dict[str, Any]:
        """What the trainer last told of itself; empty before it told anything."""
        return self._call("GET", "/v1/training")

    def load(self, version: int, digest: str = "") -> float:
        """Make a version live; returns the seconds that decoding waited.

        Args:
            version: its number.
            digest: of its manifest; empty where any is right.
        """
        return float(self._call("POST", "/v1/load", {"version": version, "digest": digest})["stalled_seconds"])

    def set_steps(self, steps: int) -> None:
        """Draft this many steps a cycle; 0 switches speculation off."""
        self._call("POST", "/v1/steps", {"steps": steps})

    def set_sample_rate(self, rate: float) -> None:
        """Capture this share of requests."""
        self._call("POST", "/v1/sample-rate", {"rate": rate})

    def close(self) -> None:
        """Close the connection."""
        self._exchange.close()
