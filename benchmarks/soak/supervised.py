"""`aurora-core online` as a supervisor runs it: started again with the same folder where it ended."""

import os
import re
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import httpx
import online_command
from aurora_core.agent.client import AgentClient
from aurora_core.child import Process
from aurora_core.config import OnlineConfig
from aurora_core.errors import EngineError
from aurora_core.online.setup import spool_below
from aurora_core.protocol.trainer import STATUS_FILE, TrainerStatus
from machine import patience
from ports import free_port
from workshop.waiting import NotInTimeError, wait

T = TypeVar("T")
ENGINES, RANKS = 2, 2
SECONDS = 300.0
"""What anything may take to come back: a start of all takes one, on two cores that do other work too."""
_APART = 10
"""Ports of an engine are so far from those of the one before (aurora_core.online.setup)."""
_LOGS = ("trainer.log", "trainer-1.log")
_LOST = re.compile(r"samples wait, ([0-9]+) lost")


@dataclass
class Supervised:
    """The command, and what it shows of itself.

    Attributes:
        work: its folder.
        config: its file.
        settings: that replace those of the file.
        key: in the environment of all its processes, by which they are found.
        process: that runs now.
        starts: how often it was started.
    """

    work: Path
    config: Path
    settings: dict[str, object]
    key: str
    process: Process
    starts: int = 1

    @classmethod
    def started(cls, config: Path, work: Path, target: Path) -> Self:
        """Start it, on CPUs of this machine."""
        settings: dict[str, object] = {
            "target.model": target,
            "serving.port": free_port(),
            "serving.agent_port": free_port(),
            "serving.max_total_tokens": 8000,
            "training.start_samples": 4,
            "training.micro_batch": 4,
            "training.publish_every_steps": 5,
            "training.save_every_steps": 5,
            "training.holdout_fraction": 0.2,
            "online.temp": work / "ray",
            "online.engines": ENGINES,
            "online.trainers": RANKS,
            "online.serving_cpus": 0.5,
            "online.training_cpus": 0.5,
        }
        key = secrets.token_hex(16)
        return cls(work, config, settings, key, online_command.start(config, work, settings, key))

    # --- what is its own -------------------------------------------------------------------------------------

    def pids(self, name: str = "") -> list[int]:
        """Its processes with that in their command lines."""
        return online_command.pids(self.key, name)

    def one(self, name: str) -> int:
        """The process with that in its command line; of several, the oldest."""
        return self.wait(name, lambda: min(self.pids(name), default=0))

    def rank(self, number: int) -> int:
        """The process of a rank of the trainer, which has its log open."""

        def writes(pid: int) -> bool:
            with suppress(OSError):
                return any(file.readlink().name == _LOGS[number] for file in Path(f"/proc/{pid}/fd").iterdir())
            return False

        return self.wait(f"rank {number}", lambda: next(filter(writes, self.pids()), 0))

    def engine(self, number: int) -> int:
        """The process of an engine, which is its group's too; 0 without one."""
        try:
            return int((self._runtime / f"engine-{number}" / "engine.pid").read_text())
        except (OSError, ValueError):
            return 0

    def actor(self, number: int) -> int:
        """The process of an engine's actor, which started the engine's."""
        text = Path(f"/proc/{self.engine(number)}/stat").read_text()
        return int(text.rpartition(")")[2].split()[1])

    @property
    def _spool(self) -> Path:
        return spool_below(OnlineConfig(), self.work)

    @property
    def _runtime(self) -> Path:
        return self._spool.with_name(f"{self._spool.name}-runtime")

    def spool(self, number: int) -> Path:
        """Where an engine's samples wait."""
        return self._spool / f"engine-{number}"

    # --- how it goes -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the endpoint of all engines."""
        return f"http://127.0.0.1:{self.settings['serving.port']}"

    def live(self, number: int) -> int | None:
        """The version that an engine which is up serves; None where it does not."""
        serving, agent = (int(str(self.settings[name])) for name in ("serving.port", "serving.agent_port"))
        apart = _APART * (number + 1)
        client = AgentClient(f"http://127.0.0.1:{agent + apart}", self.key, timeout=10, name=f"engine-{number}")
        try:
            if httpx.get(f"http://127.0.0.1:{serving + apart}/health", timeout=5).status_code != httpx.codes.OK:
                return None
            return client.live().draft.live
        except (httpx.HTTPError, EngineError):
            return None
        finally:
            client.close()

    def training(self) -> TrainerStatus:
        """What the trainer wrote last."""
        return TrainerStatus.of(self.work / "training" / STATUS_FILE)

    def lost(self) -> int:
        """Samples that engines' actors could not hand over, as the command's last line has it."""
        found = _LOST.findall(self.process.log.read_text(errors="replace"))
        return int(found[-1]) if found else 0

    def wait(self, what: str, ready: Callable[[], T | None]) -> T:
        """Wait until something is true, and start the command again meanwhile where it ended.

        Raises:
            NotInTimeError: it is not in time; with the end of the log.
        """

        def tended() -> T | None:
            if not self.process.alive():
                self.process = online_command.start(self.config, self.work, self.settings, self.key)
                self.starts += 1
            return ready()

        return wait(what, tended, patience(SECONDS), every=0.5, state=lambda: self.process.log.read_text()[-3000:])

    # --- ending ----------------------------------------------------------------------------------------------

    def kill(self, pid: int, *, group: bool = False) -> None:
        """SIGKILL a process, or its group."""
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)

    def stop(self) -> list[str]:
        """End it by SIGTERM; returns what is wrong then. What is left is killed."""
        began, wrong = time.monotonic(), []
        os.kill(self.process.pid, signal.SIGTERM)
        try:
            wait("its end", lambda: not self.process.alive(), patience(SECONDS))
            wait("the end of its processes", lambda: not self.pids(), 15)
        except NotInTimeError as error:
            names = [Path(f"/proc/{pid}/cmdline").read_text(errors="replace")[:80] for pid in self.pids()]
            wrong.append(f"{error} after {time.monotonic() - began:.0f} s: {names}")
        self.process.stop()
        for pid in self.pids():
            with suppress(ProcessLookupError):
                self.kill(pid)
        return wrong + [f"{folder} is left" for folder in (self._spool, self._runtime) if folder.exists()]
