"""What stands in an engine's place: it verifies, and serves, what an agent asks for, and remembers all of it."""

from pathlib import Path
from typing import Any

from aurora_core.agent.engine import Engine
from aurora_core.protocol.engine import CaptureState, DraftState, EngineState
from aurora_core.weights.store import WeightsStore


class Served(Engine):
    """Serves what it is asked for, and remembers all of it."""

    def __init__(self, store: WeightsStore) -> None:
        self._store, self._state = store, EngineState(draft=DraftState(live=0), steps=0, capture=CaptureState(rate=0))
        self.digests: list[str] = []

    def _now(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)

    def state(self) -> EngineState:
        """As of the last order."""
        return self._state

    def metrics(self) -> str:
        """None."""
        return ""

    def load(self, version: int, timeout: float = 120) -> float:
        """Verify and serve a version."""
        del timeout
        manifest, _ = self._store.read(version)
        self.digests.append(manifest.digest)
        self._now(draft=self._state.draft.model_copy(update={"live": version}))
        return 0.0

    def set_steps(self, steps: int) -> None:
        """Remember them."""
        self._now(steps=steps)

    def set_sample_rate(self, rate: float) -> None:
        """Remember it."""
        self._now(capture=CaptureState(rate=rate))


def publish(store: WeightsStore, text: str) -> tuple[int, str]:
    """A version with these bytes; returns its number and digest."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_text(text)

    made = store.publish(write, target_fingerprint="t")
    return made.version, made.digest
