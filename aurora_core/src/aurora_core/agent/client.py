"""Talks to an agent."""

import ssl
from typing import TypeVar

from aurora_core.agent import signatures
from aurora_core.budget import ExchangeError
from aurora_core.errors import EngineError
from aurora_core.exchange import Answer, Exchange, Limits, parsed
from aurora_core.protocol.agent import (
    Contents,
    Loaded,
    LoadRequest,
    RateRequest,
    Record,
    Refusal,
    Route,
    StepsRequest,
    Volume,
)
from aurora_core.protocol.engine import EngineState
from aurora_core.protocol.message import MalformedError, Message
from aurora_core.protocol.trainer import TrainerStatus

_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Agents speak HTTP; a context that trusts nobody is made in no time, the usual one takes 30 ms for each client."""
_CONNECT_SECONDS = 3.0
"""An agent answers at once or not at all: a node that is gone must not hold its caller as long as a load may take."""
_MOST_BYTES = 4 << 20
_BAD_REQUEST = 400

_M = TypeVar("_M", bound=Message)


class AgentClient:
    """The caller's end of the agent's interface.

    Every method raises EngineError where the agent, or the engine behind it, does not do as asked, and where an answer
    is not signed with the key: whatever listens at an address is not believed for that alone.

    Args:
        url: of the agent.
        key: the key that both have.
        timeout: seconds for one call.
        name: the agent's; empty where it has none.
    """

    def __init__(self, url: str, key: str, timeout: float = 150, name: str = "") -> None:
        limits = Limits(timeout, connect_seconds=min(timeout, _CONNECT_SECONDS), size=_MOST_BYTES)
        self._url, self._key, self._name = url, key, name
        try:
            self._exchange = Exchange(url, {}, _PLAIN, limits)
        except ExchangeError as error:
            raise EngineError(f"the agent at {url} cannot be reached: {error}") from error

    def _signed(self, method: str, path: Route, content: bytes | None) -> Answer:
        signed = signatures.sign(self._key, self._name, method, path, content or b"")
        found = self._exchange.request(method, path, content, headers={"Authorization": signed.header()})
        given = found.headers.get(signatures.ANSWER_HEADER, "")
        if not signatures.answer_is_signed(self._key, signed.nonce, found.status, found.body, given):
            raise EngineError(
                f"the agent at {self._url} answers {path} with status {found.status}, and not with this deployment's "
                "key: its pod has another key or version, or something else listens there"
            )
        return found

    def _call(self, method: str, path: Route, answer: type[_M], body: Message | None = None) -> _M:
        try:
            found = self._signed(method, path, None if body is None else body.model_dump_json(by_alias=True).encode())
            status, sent = found.status, parsed(found.body)
        except ExchangeError as error:
            raise EngineError(f"the agent at {self._url} does not answer: {error}") from error
        try:
            if status >= _BAD_REQUEST:
                raise EngineError(Refusal.read(sent).error)
            return answer.read(sent)
        except MalformedError as error:
            raise EngineError(
                f"the agent at {self._url} answers {path} with status {status} and not as this version's agent "
                f"does: {error}"
            ) from error

    def live(self) -> EngineState:
        """The engine's state."""
        return self._call("GET", Route.LIVE, EngineState)

    def contents(self) -> Contents:
        """What is on the volume."""
        return self._call("GET", Route.VERSIONS, Contents)

    def keep_record(self, record: Record) -> None:
        """Keep what promotion decided on the volume."""
        self._call("POST", Route.RECORD, Message, record)

    def volume(self) -> Volume:
        """How full the volume is."""
        return self._call("GET", Route.VOLUME, Volume)

    def training(self) -> TrainerStatus | None:
        """How training goes; None before the trainer reported anything."""
        found = self._call("GET", Route.TRAINING, TrainerStatus)
        return found if found.model_fields_set else None

    def load(self, version: int, digest: str = "") -> float:
        """Make a version live; returns the seconds that decoding waited.

        Args:
            version: its number.
            digest: of its manifest; empty where any is right.
        """
        return self._call("POST", Route.LOAD, Loaded, LoadRequest(version=version, digest=digest)).stalled_seconds

    def set_steps(self, steps: int) -> None:
        """Draft this many steps a cycle; 0 switches speculation off."""
        self._call("POST", Route.STEPS, Message, StepsRequest(steps=steps))

    def set_sample_rate(self, rate: float) -> None:
        """Capture this share of requests."""
        self._call("POST", Route.SAMPLE_RATE, Message, RateRequest(rate=rate))

    def close(self) -> None:
        """Close the connection."""
        self._exchange.close()
