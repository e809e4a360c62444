"""Draft-only hot swap: other weights into the running draft, between two steps of the engine.

*Prepare* verifies a version byte by byte and reads it into memory, in the background. *Activate* copies it into the
draft's own parameters, in place, so that CUDA graphs stay valid; the target is not touched. Running requests go
on: what a draft proposes never changes what the target says, only how often it agrees. Where several ranks share the
target all of them swap in the same cycle, or none.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from aurora_core.drafts.registry import family
from aurora_core.engine.agreement import Agree, alone
from aurora_core.errors import EngineError, WeightsError
from aurora_core.weights.loaded import Loaded, read
from aurora_core.weights.store import WeightsStore

log = logging.getLogger(__name__)


@dataclass
class SwapState:
    """What is reported of swaps."""

    live: int
    prepared: int | None = None
    failed: dict[int, str] = field(default_factory=dict)
    swaps: int = 0
    failures: int = 0
    seconds: float = 0.0
    last_seconds: float = 0.0


class DraftSwap:
    """Prepares and commits versions of one engine's draft.

    Args:
        store: where versions are.
        live: the version that the engine started with.
        target: fingerprint of the target that it serves.
    """

    def __init__(self, store: WeightsStore, live: Loaded, target: str) -> None:
        self.state = SwapState(live=live.version)
        self._store = store
        self._target = target
        self._loaded: Loaded | None = None
        self._preparing: threading.Thread | None = None
        self._lock = threading.Lock()
        self._live = live

    def prepare(self, version: int) -> None:
        """Start reading a version in the background; a version that is being read is left to finish."""
        if self._preparing is not None and self._preparing.is_alive():
            return
        self.state.prepared = None
        self.state.failed.pop(version, None)
        self._preparing = threading.Thread(target=self._prepare, args=(version,), name="aurora-prepare", daemon=True)
        self._preparing.start()

    def _prepare(self, version: int) -> None:
        try:
            # A giant of another writer must not take the memory of an engine that serves.
            loaded = read(self._store, version, self._target, self._live.most_bytes)
            loaded.check(self._live, f"version {version}")
        except (WeightsError, OSError, RuntimeError, ValueError, KeyError) as error:
            # Whatever it is: a version that is neither prepared nor failed would be waited for in vain.
            log.error("version %d cannot go live: %s", version, error)  # noqa: TRY400 (says all there is)
            self.state.failed = {version: str(error)}
            self.state.failures += 1
            return
        with self._lock:
            self._loaded = loaded
            self.state.prepared = version

    def is_prepared(self, version: int) -> bool:
        """Whether :meth:`activate` can run."""
        return self.state.prepared == version

    def activate(self, version: int, draft_worker: Any, agree: Agree = alone) -> float:
        """Copy the prepared version into the draft; where a rank fails to, all put the old one back.

        Args:
            version: that is prepared, on all ranks.
            draft_worker: SGLang's.
            agree: with the other ranks.

        Returns:
            Seconds that decoding waited.

        Raises:
            EngineError: nothing is prepared, or the engine refused the weights (the old draft stays live).
        """
        with self._lock:
            loaded = self._loaded
        if loaded is None or loaded.version != version:
            message = f"version {version} is not prepared"
            raise EngineError(message)
        started, refusal, cause = time.perf_counter(), "", None
        try:
            _load(draft_worker, loaded)
        except Exception as error:  # noqa: BLE001 (whatever it is, the other ranks wait for the answer of this one)
            refusal, cause = str(error) or type(error).__name__, error
        if not agree(not refusal):
            self.state.failures += 1
            self.state.failed = {version: refusal or "another rank of the engine refused it; its log says why"}
            _load(draft_worker, self._live)
            message = f"the engine refused version {version}: {self.state.failed[version]}"
            raise EngineError(message) from cause
        seconds = time.perf_counter() - started
        self._live, self._loaded = loaded, None
        self.state.prepared = None
        self.state.live = version
        self.state.swaps += 1
        self.state.seconds += seconds
        self.state.last_seconds = seconds
        return seconds


def _load(draft_worker: Any, loaded: Loaded) -> None:
    """Load weights as the draft's family does, with the device's work done before and after."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    family(loaded.algorithm).load(draft_worker, loaded.tensors)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
