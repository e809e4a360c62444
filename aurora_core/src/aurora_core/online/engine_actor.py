"""The actor of an engine: it starts what an engine's pod runs, and hands the samples of its spool to the trainer."""

import contextlib
import json
import logging
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.exceptions import GetTimeoutError, RayActorError

from aurora_core import listening
from aurora_core.child import Process
from aurora_core.config import DeploymentConfig
from aurora_core.engine.settings import Desired
from aurora_core.errors import EngineError
from aurora_core.online.own_agent import OwnAgent
from aurora_core.online.samples import Collector
from aurora_core.protocol.agent import Route

log = logging.getLogger(__name__)

START_SECONDS = 1800.0
"""How long an engine may take to serve: a large target is read from a network volume."""
_TICK_SECONDS = 0.2
_PID = "engine.pid"
"""File with the process id of the engine, which is its group's too."""
_ANSWER_SECONDS = 30.0
_SILENT_SECONDS = 2.0


@dataclass(frozen=True)
class EngineSetup:
    """What an engine actor needs.

    Attributes:
        name: of the engine.
        config: of the deployment, with this engine's ports.
        work: folder of weights, samples and training state.
        models: folder of fetched models.
        spool: folder in shared memory for its samples.
        runtime: folder for files that the engine needs to run.
        logs: folder of its processes' logs.
        gpus: numbers of its GPUs; None where Ray says which.
        agent: whether it starts the sync agent too.
        desired: folder that says what to start with, on its node; None where the caller says it.
    """

    name: str
    config: DeploymentConfig
    work: Path
    models: Path
    spool: Path
    runtime: Path
    logs: Path
    gpus: tuple[int, ...] | None = None
    agent: bool = True
    desired: Path | None = None

    @property
    def url(self) -> str:
        """URL of the engine, on its node."""
        return f"http://{listening.reachable(self.config.serving.host)}:{self.config.serving.port}"

    @property
    def agent_url(self) -> str:
        """URL of its sync agent, on its node."""
        return f"http://{listening.reachable(self.config.serving.host)}:{self.config.serving.agent_port}"


def private(folder: Path) -> None:
    """Make a folder that only its owner may enter, whatever others made of its name.

    Raises:
        EngineError: it is another user's, a link, or open to others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EngineError(
            f"{folder} is not a folder that this user alone may enter: remove it, or name another in online.spool"
        )


@dataclass(frozen=True)
class EngineReport:
    """Where an engine is.

    Attributes:
        up: whether it serves.
        pid: of the engine's process; 0 without one.
        handed: samples that the trainer took.
        waiting: samples that it has not taken yet.
        lost: samples that could not be handed over, by reason.
        agents: how often its agent was started again alone.
        lacks_agent: whether its agent ended, and another one does not answer yet.
    """

    up: bool
    pid: int = 0
    handed: int = 0
    waiting: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    agents: int = 0
    lacks_agent: bool = False


class EngineActor:
    """One engine, with its agent where it has none beside it."""

    def __init__(self, setup: EngineSetup) -> None:
        self._setup = setup
        self._stopping = threading.Event()
        self._engine: Process | None = None
        self._agent: OwnAgent | None = None
        self._up = False
        self._agents = 0
        self._silent_until = 0.0
        self._running = threading.Lock()
        self._trainer: Any = None
        samples = setup.config.samples
        self._collector = Collector(setup.spool, samples.spool_bytes, samples.max_age_seconds)

    def run(self, desired: Desired, trainer: Any) -> None:  # noqa: ANN401 (a handle of Ray's)
        """Serve, and hand samples to the trainer, until stopped. A call while another one runs waits for its end.

        Args:
            desired: what to start with, where no folder says it.
            trainer: the actor that takes samples.

        Raises:
            EngineError: the engine ended, or its agent does not start, with the end of the log.
        """
        self._trainer = trainer
        with self._running:
            try:
                self._serve(desired)
            finally:
                self._end()

    def _serve(self, desired: Desired) -> None:
        if self._stopping.is_set():
            return
        private(self._setup.spool)
        self._end_earlier()
        engine = self._engine = self._start_engine(desired)
        engine.wait_until_healthy(f"{self._setup.url}/health", START_SECONDS, self._stopping)
        url, name = f"{self._setup.agent_url}{Route.HEALTH}", self._setup.name
        self._agent = OwnAgent(name, url, self._start_agent, START_SECONDS) if self._setup.agent else None
        while not self._stopping.wait(_TICK_SECONDS):
            self._tend(engine)
            self._hand_over(engine)

    def _tend(self, engine: Process) -> None:
        engine.check()
        if self._agent is not None:
            self._agent.tend(time.monotonic())
        self._up = self._agent is None or self._agent.answered

    def _start(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Process:
        return Process.aurora(name, arguments, environment, self._setup.logs / f"{self._setup.name}-{name}.log")

    def _start_engine(self, desired: Desired) -> Process:
        setup = self._setup
        setup.runtime.mkdir(parents=True, exist_ok=True)
        config = setup.runtime / "config.yaml"
        # To the engine its spool is as any other: what it writes there is this actor's to hand over.
        samples = setup.config.samples.model_copy(update={"transport": "Filesystem"})
        engines = setup.config.model_copy(update={"samples": samples})
        config.write_text(yaml.safe_dump(json.loads(engines.model_dump_json(by_alias=True))))
        folder = setup.desired or setup.runtime / "desired"
        if setup.desired is None:
            folder.mkdir(exist_ok=True)
            for name, value in desired.model_dump().items():
                (folder / name).write_text(str(value))
        arguments = ["engine", "--config", str(config), "--work", str(setup.work), "--models", str(setup.models)]
        arguments += ["--desired", str(folder), "--runtime", str(setup.runtime), "--spool", str(setup.spool)]
        environment = dict(os.environ)
        if setup.gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, setup.gpus))
        process = self._start("engine", arguments, environment)
        (setup.runtime / _PID).write_text(str(process.pid))
        return process

    def _end_earlier(self) -> None:
        """End the engine of an actor that was killed: it drains, and while requests come it never ends by itself."""
        try:
            pid = int((self._setup.runtime / _PID).read_text())
            if str(self._setup.spool).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                os.killpg(pid, signal.SIGKILL)
        except (OSError, ValueError):
            return

    def _start_agent(self) -> Process:
        setup, serving = self._setup, self._setup.config.serving
        arguments = ["agent", "--work", str(setup.work), "--engine", setup.url, "--label", f"engine={setup.name}"]
        arguments += ["--host", serving.host, "--port", str(serving.agent_port)]
        return self._start("agent", arguments, os.environ)

    def _hand_over(self, engine: Process) -> None:
        """One call to the trainer. While it does not answer, samples stay where they are."""
        if time.monotonic() < self._silent_until:
            return
        offers, gone = self._collector.offers(ray.put)
        lost = dict(self._collector.unreported)
        try:
            call = self._trainer.exchange.remote(self._setup.name, offers, gone, lost)
            deadline = time.monotonic() + _ANSWER_SECONDS
            # A trainer that is slow to answer, or not there yet, must not keep the engine unwatched.
            while not ray.wait([call], timeout=_TICK_SECONDS)[0]:
                if self._stopping.is_set() or time.monotonic() > deadline:
                    break
                self._tend(engine)
            self._collector.answered(gone, ray.get(call, timeout=0), lost)
        except (RayActorError, GetTimeoutError) as error:
            log.info("the trainer takes no samples now: %s", type(error).__name__)
            self._silent_until = time.monotonic() + _SILENT_SECONDS

    def report(self) -> EngineReport:
        """Where it is."""
        found, engine, agent = self._collector, self._engine, self._agent
        return EngineReport(
            up=self._up,
            pid=engine.pid if engine else 0,
            handed=found.handed,
            waiting=found.waiting,
            lost=dict(found.lost),
            agents=self._agents + (agent.restarts if agent else 0),
            lacks_agent=agent is not None and agent.answered and not agent.up,
        )

    def stop(self) -> None:
        """End :meth:`run`, the engine and its agent, and remove what it kept in memory."""
        self._stopping.set()
        with self._running:
            for folder in (self._setup.spool, self._setup.runtime):
                shutil.rmtree(folder, ignore_errors=True)
                with contextlib.suppress(OSError):
                    # The last engine of this machine also takes what they had in common.
                    folder.parent.rmdir()

    def _end(self) -> None:
        self._up = False
        agent, self._agent = self._agent, None
        if agent is not None:
            self._agents += agent.restarts
            agent.end()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.stop()
