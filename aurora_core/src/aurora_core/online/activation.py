"""What the engines of one machine draft with, where no operator decides: the newest version, where that is faster."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from aurora_core.agent.client import AgentClient
from aurora_core.config import DeploymentConfig
from aurora_core.engine.settings import Desired
from aurora_core.errors import EngineError, WeightsError
from aurora_core.online.speculation import Comparison, advance, begin
from aurora_core.protocol.agent import Record
from aurora_core.weights import record
from aurora_core.weights.store import WeightsStore

log = logging.getLogger(__name__)

SPECULATE_AT = 1.35
"""Held-out accept length from which a draft is tried; measured decode speed decides whether it stays."""


class Activation:
    """Makes versions live by the engines' agents, as the operator does, and keeps the same record of it."""

    @classmethod
    def resumed(
        cls, config: DeploymentConfig, store: WeightsStore, agents: Sequence[AgentClient], kept: Path, in_use: Path
    ) -> Self:
        """Take over where the record on the volume says that the last process was.

        Args:
            config: of the deployment.
            store: of versions.
            agents: of the engines.
            kept: folder of the record.
            in_use: file of the versions that may not be pruned.

        Raises:
            WeightsError: the store has no version, or the record cannot be read.
        """
        newest = store.versions()[-1]
        found = record.read(kept)
        if found is not None:
            desired = Desired(version=found.version, steps=found.steps, digest=found.digest)
        else:
            steps = 0 if config.draft.checkpoint is None and config.draft.switchable else config.draft.num_steps
            desired = Desired(version=newest, steps=steps)
        activation = cls(config, store, agents, in_use, desired)
        activation._set_in_use()
        return activation

    def __init__(
        self,
        config: DeploymentConfig,
        store: WeightsStore,
        agents: Sequence[AgentClient],
        in_use: Path,
        desired: Desired,
    ) -> None:
        self._draft = config.draft
        self._store = store
        self._agents = agents
        self._in_use = in_use
        self._comparison: Comparison | None = None
        self._damaged: set[int] = set()
        self.desired = desired
        self.swaps = 0
        self.lag: float | None = None
        """Seconds from the newest sample that the live version was trained on to its going live."""
        self.stall = 0.0
        """Seconds that decoding waited for the last version."""

    def follow(self) -> bool:
        """Make the newest version live where it is not; returns whether one became it."""
        newest = self._store.versions()[-1]
        if newest == self.desired.version or newest in self._damaged:
            return False
        try:
            manifest = self._store.verify(newest)
        except WeightsError:
            self._damaged.add(newest)
            raise
        self._set_in_use(newest)
        self.stall = max(agent.load(newest, manifest.digest) for agent in self._agents)
        sampled = manifest.provenance.newest_sample
        self.lag = time.time() - sampled.timestamp() if sampled else None
        self.swaps += 1
        self.desired = Desired(version=newest, steps=self.desired.steps, digest=manifest.digest)
        if self._draft.switchable and (manifest.holdout_accept_length or 1.0) >= SPECULATE_AT:
            self._set_steps(self._draft.num_steps)
        self._keep()
        self._set_in_use()
        return True

    def restore(self) -> None:
        """Have an engine that was restarted serve what the others do."""
        for agent in self._agents:
            state = agent.live()
            if state.draft.live != self.desired.version:
                agent.load(self.desired.version)
            if self._draft.switchable and state.steps != self.desired.steps:
                agent.set_steps(self.desired.steps)

    def keep_faster(self) -> None:
        """Serve with the draft or without it, whichever decodes faster, once the draft was switched on."""
        if not self._draft.switchable or (self._comparison is None and not self.desired.steps):
            return
        state = self._agents[0].live()
        comparison = self._comparison
        # Steps that something else has set, such as a new version's trial, are measured from here.
        if comparison is None or comparison.steps != self.desired.steps:
            comparison = begin(state, self.desired.steps)
        self._comparison = advance(comparison, state, self._draft.num_steps)
        self._set_steps(self._comparison.steps)

    def tick(self) -> bool:
        """All of it once; an engine that does not answer now is asked again. Returns whether a version went live."""
        try:
            self.restore()
            swapped = self.follow()
            self.keep_faster()
        except (EngineError, WeightsError) as error:
            log.info("no version is made live now: %s", error)
            return False
        return swapped

    def _set_steps(self, steps: int) -> None:
        if steps == self.desired.steps:
            return
        for agent in self._agents:
            agent.set_steps(steps)
        self.desired = self.desired.model_copy(update={"steps": steps})
        self._keep()

    def _keep(self) -> None:
        now = self.desired
        self._agents[0].keep_record(
            Record(version=now.version, steps=now.steps, digest=now.digest, decided=now.version)
        )

    def _set_in_use(self, *more: int) -> None:
        """Before a version is loaded and after: the trainer prunes what is not named here."""
        part = self._in_use.with_suffix(".part")
        part.write_text(",".join(str(one) for one in sorted({self.desired.version, *more})))
        part.rename(self._in_use)
