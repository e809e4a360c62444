"""The same loop in mode Online: engine and trainer as actors of a local Ray cluster."""

import os
import signal
from dataclasses import dataclass

from aurora_core.cli.paths import models_folder
from aurora_core.config import DeploymentConfig
from aurora_core.engine.settings import Desired
from aurora_core.errors import EngineError
from aurora_core.online import on_loopback

from aurora_demo.stack import Pausable, Stack

on_loopback()
from aurora_core.online.run import Online  # noqa: E402
from aurora_core.online.setup import Options  # noqa: E402 (Ray reads at its import where it is to listen)


@dataclass(frozen=True)
class _Trainer:
    """The trainer's actor as the process that it is."""

    pid: int

    def pause(self) -> None:
        """Stop it from running."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume it."""
        os.kill(self.pid, signal.SIGCONT)


class OnlineStack(Stack):
    """Engine, agent and trainer in one Ray cluster, which restarts what ends."""

    _online: Online | None = None

    def configured(self) -> DeploymentConfig:
        """See :class:`Stack`; samples travel inside the cluster."""
        plain = super().configured()
        return plain.model_copy(update={"samples": plain.samples.model_copy(update={"transport": "Ray"})})

    def start(self) -> None:
        """Start the cluster, and wait until the engine serves."""
        options = Options(work=self.work.root, models=models_folder())
        self._online = Online.started(self.configured(), options)
        self.agent = self._online.agents[0]
        self._online.wait(self._desired())

    @property
    def trainer(self) -> Pausable:
        """See :class:`Stack`."""
        if self._online is None:
            message = "there is no trainer: the cluster was not started"
            raise EngineError(message)
        return _Trainer(self._online.cluster.trainer_pid())

    def _desired(self) -> Desired:
        return Desired(version=self.live, steps=self.steps)

    def check(self) -> None:
        """Start again what has ended."""
        super().check()
        if self._online is not None:
            self._online.cluster.run(self._desired())

    def stop(self, *names: str) -> None:
        """Stop processes by name, or all; of the cluster everything at once."""
        super().stop(*(name for name in names if name in self.processes))
        if self._online is not None:
            self._online.stop()
            self._online = None
