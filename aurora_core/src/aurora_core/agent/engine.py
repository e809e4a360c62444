"""The engine's control endpoints, as the plugin extends them."""

import time

import httpx

from aurora_core.errors import EngineError
from aurora_core.protocol.controls import Control
from aurora_core.protocol.engine import EngineState, ServerInfo
from aurora_core.waiting import wait

_RANKS_SECONDS, _RETRY_SECONDS = 30.0, 0.1
"""How long the other ranks may take to read what the first one has read, and how often they are asked."""


class Engine:
    """A running SGLang with the plugin."""

    def __init__(self, url: str, admin_key: str) -> None:
        # The engine is in the same pod: its admin key never passes a proxy that the environment names.
        self._admin = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {admin_key}"}, timeout=30, trust_env=False
        )
        self._known_closed = False

    def state(self) -> EngineState:
        """What the plugin measured.

        Raises:
            EngineError: the engine does not answer, or runs without the plugin.
        """
        try:
            self._check_closed()
            response = self._admin.get("/server_info")
            response.raise_for_status()
            state = ServerInfo.read(response.json()).internal_states[0].aurora
        except (httpx.HTTPError, ValueError) as error:
            message = f"the engine at {self._admin.base_url} did not report its state: {error}"
            raise EngineError(message) from error
        if state is None:
            message = f"the engine at {self._admin.base_url} runs without the aurora plugin"
            raise EngineError(message)
        return state

    def metrics(self) -> str:
        """SGLang's own metrics, in the text format of Prometheus.

        Raises:
            EngineError: the engine does not answer.
        """
        try:
            response = self._admin.get("/metrics", timeout=5)
            response.raise_for_status()
        except httpx.HTTPError as error:
            message = f"the engine at {self._admin.base_url} does not report its metrics: {error}"
            raise EngineError(message) from error
        return response.text

    def _check_closed(self) -> None:
        """That its control routes are closed to those without the key, once: an image of an engine can be anybody's.

        Raises:
            EngineError: anyone who reaches the engine could control it.
        """
        if self._known_closed:
            return
        status = httpx.get(f"{self._admin.base_url}/server_info", timeout=10, trust_env=False).status_code
        if status < httpx.codes.BAD_REQUEST:
            message = (
                f"the engine at {self._admin.base_url} answers control requests without a key: its image lacks the "
                "aurora plugin, or has another SGLang than the one that the plugin was made for"
            )
            raise EngineError(message)
        self._known_closed = status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}

    def _set(self, key: Control, value: float) -> None:
        try:
            response = self._admin.post("/set_internal_state", json={"server_args": {key: value}})
            response.raise_for_status()
            accepted = all(response.json())
        except (httpx.HTTPError, ValueError) as error:
            message = f"the engine rejected {key}={value}: {error}"
            raise EngineError(message) from error
        if not accepted:
            message = f"the engine refused {key}={value}; its log says why"
            raise EngineError(message)

    def set_steps(self, steps: int) -> None:
        """Draft this many steps a cycle from now on; 0 switches speculation off."""
        self._set(Control.STEPS, steps)

    def set_sample_rate(self, rate: float) -> None:
        """Capture this share of requests from now on."""
        self._set(Control.SAMPLE_RATE, rate)

    def load(self, version: int, timeout: float = 120) -> float:
        """Make a version live.

        Args:
            version: a version of the store that the engine reads.
            timeout: seconds for reading and verifying it.

        Returns:
            Seconds that decoding waited for it.

        Raises:
            EngineError: it could not be read, does not fit, or was refused; the live draft is as before.
        """
        self._set(Control.PREPARE, version)
        deadline = time.monotonic() + timeout

        def prepared() -> bool:
            draft = self.state().draft
            if draft.prepared != version and version in draft.failed:
                raise EngineError(draft.failed[version])
            return draft.prepared == version

        wait(f"version {version} to be read and verified", prepared, timeout, every=0.05)
        self._activate(version, min(deadline, time.monotonic() + _RANKS_SECONDS))
        draft = self.state().draft
        if draft.live != version:
            raise EngineError(draft.failed.get(version, f"version {version} did not go live"))
        return draft.last_seconds

    def _activate(self, version: int, deadline: float) -> None:
        """What an engine reports is its first rank's; the others may need a little longer to read the version."""
        while True:
            try:
                self._set(Control.ACTIVATE, version)
            except EngineError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def checksums(self, selector: str) -> dict[str, str]:
        """SGLang's own checksums of the weights of ``target`` or ``draft``, by tensor.

        Raises:
            EngineError: the engine did not give them.
        """
        try:
            response = self._admin.post("/weights_checker", json={"action": "checksum", "selector": selector})
            response.raise_for_status()
            ranks: list[dict[str, dict[str, str]]] = response.json()["ranks"]
            return ranks[0]["checksums"]
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            message = f"the engine gave no checksums: {error}"
            raise EngineError(message) from error

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()
