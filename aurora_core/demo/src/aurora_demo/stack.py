"""Engine, agent and trainer as processes, and what to do with a version that the trainer published."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import yaml
from aurora_core.agent.client import AgentClient
from aurora_core.arithmetic import ComputeDtype
from aurora_core.child import Process
from aurora_core.config import DeploymentConfig
from aurora_core.engine.launch import Command, Secrets, engine_dtype, speculative, target_only
from aurora_core.engine.settings import EngineSettings
from aurora_core.models.target import Target
from aurora_core.online.speculation import Comparison, advance, begin
from aurora_core.protocol.trainer import STATUS_FILE, TrainerStatus
from aurora_core.training.init import ensure_first
from aurora_core.weights.signing import Signing
from aurora_core.weights.store import WeightsStore

from aurora_demo import store
from aurora_demo.config import LoopConfig

_START_SECONDS = 300


@dataclass(frozen=True)
class Work:
    """The loop's folder."""

    root: Path

    @property
    def weights(self) -> Path:
        """Root of the weights store."""
        return self.root / "weights"

    @property
    def spool(self) -> Path:
        """The filesystem transport's folder."""
        return self.root / "spool"

    @property
    def state(self) -> Path:
        """Root of the training state."""
        return self.root / "training"

    @property
    def status(self) -> Path:
        """The trainer's status."""
        return self.state / STATUS_FILE

    def log(self, name: str) -> Path:
        """Log file of a process."""
        return self.root / "logs" / f"{name}.log"


class Pausable(Protocol):
    """Something that uses the processor."""

    def pause(self) -> None:
        """Stop it from running."""

    def resume(self) -> None:
        """Resume it."""


class Stack:
    """The loop's processes; each can be killed and started again on its own."""

    @classmethod
    def prepared(cls, config: LoopConfig, target: Target, work: Work) -> Self:
        """A stack with a first version to serve, published where there is none."""
        store = WeightsStore(work.weights, signing=Signing.from_environment())
        first = ensure_first(store, config.draft, target, config.training.seed)
        return cls(config, target, work, store, engine_dtype(target.path, config.target, config.serving), first.version)

    def __init__(
        self, config: LoopConfig, target: Target, work: Work, store: WeightsStore, dtype: ComputeDtype, live: int
    ) -> None:
        self.config = config
        self.work = work
        self.target = target
        self.store = store
        self.dtype = dtype
        self.url = f"http://{config.serving.host}:{config.serving.port}"
        self.live = live
        self.steps = 0 if config.draft.checkpoint is None and config.draft.switchable else config.draft.num_steps
        self._token = secrets.token_urlsafe(24)
        self._admin_key = secrets.token_urlsafe(24)
        self.processes: dict[str, Process] = {}
        self.pinned: set[int] = set()
        self._comparison: Comparison | None = None
        self.agent = AgentClient(f"http://{config.serving.host}:{config.serving.agent_port}", self._token)

    def _start(self, name: str, process: Process) -> Process:
        self.processes[name] = process
        return process

    def start(self) -> None:
        """Start everything: the sample store where one is configured, engine, agent and trainer."""
        if self.config.samples.transport == "Mooncake":
            self.start_store()
        self.start_engine()
        self.start_agent()
        self.start_trainer()

    def start_store(self) -> None:
        """Start a Mooncake master, and wait until it listens."""
        self._start("store", store.start(self.config.samples, self.work.log("store")))

    def start_engine(self) -> None:
        """Start SGLang with the plugin on the live version, and wait until it serves."""
        settings = EngineSettings(
            weights=self.work.weights,
            version=self.live,
            target=self.target.fingerprint,
            spool=self.work.spool,
            dtype=self.dtype,
            initial_steps=self.steps,
            samples=self.config.samples,
            sample_token=self._token,
        )
        command = speculative(
            self.target.path,
            self.config.target,
            self.config.serving,
            self.config.draft,
            settings,
            self.store.folder(self.live),
            self.work.root / "engine",
            Secrets(admin_key=self._admin_key),
        )
        self._start_engine("engine", command)

    def start_target_only(self) -> None:
        """Start stock SGLang without draft or plugin in the engine's place."""
        self._start_engine("target-only", target_only(self.target.path, self.config.target, self.config.serving))

    def _start_engine(self, name: str, command: Command) -> None:
        process = Process.start(name, command.arguments, command.environment, self.work.log(name))
        self._start(name, process).wait_until_healthy(f"{self.url}/health", _START_SECONDS)

    def start_agent(self) -> None:
        """Start the sync agent and wait until it answers."""
        serving = self.config.serving
        environment = {**os.environ, "AURORA_AGENT_TOKEN": self._token, "AURORA_ADMIN_KEY": self._admin_key}
        arguments = ["agent", "--work", str(self.work.root), "--engine", self.url]
        arguments += ["--host", serving.host, "--port", str(serving.agent_port)]
        process = Process.aurora("agent", arguments, environment, self.work.log("agent"))
        url = f"http://{serving.host}:{serving.agent_port}/healthz"
        self._start("agent", process).wait_until_healthy(url, _START_SECONDS)

    def configured(self) -> DeploymentConfig:
        """What the product's own processes read: the target is a folder, whatever the loop's file calls it."""
        plain = DeploymentConfig.model_validate(self.config.model_dump(exclude={"traffic"}))
        return plain.model_copy(update={"target": plain.target.model_copy(update={"model": str(self.target.path)})})

    def start_trainer(self) -> None:
        """Start the trainer, at a lower priority than serving."""
        path = self.work.root / "train.yaml"
        path.write_text(yaml.safe_dump(json.loads(self.configured().model_dump_json(by_alias=True))))
        environment = {**os.environ, "AURORA_SAMPLE_TOKEN": self._token}
        arguments = ["train", "--config", str(path), "--work", str(self.work.root)]
        self._start("trainer", Process.aurora("trainer", arguments, environment, self.work.log("trainer"), nice=10))

    @property
    def trainer(self) -> Pausable:
        """What can be paused for a measurement that training must not disturb."""
        return self.processes["trainer"]

    def training(self) -> TrainerStatus:
        """How training goes."""
        return TrainerStatus.of(self.work.status)

    def load(self, version: int) -> float:
        """Make a version live; returns the seconds that decoding waited."""
        seconds = self.agent.load(version)
        self.live = version
        return seconds

    def set_steps(self, steps: int) -> None:
        """Draft this many steps; 0 switches speculation off."""
        if steps != self.steps:
            self.agent.set_steps(steps)
            self.steps = steps

    def follow(self, speculate_at: float) -> tuple[int, float] | None:
        """Make the newest published version live where it is not; returns it and the stall.

        Versions are published only where they beat the last one on held-out requests. Without live traffic's
        proof (that is the operator's promotion gate) this is the lab's way, not production's.
        """
        newest = self.store.versions()[-1]
        if newest == self.live:
            return None
        stall = self.load(newest)
        score = self.store.manifest(newest).holdout_accept_length or 1.0
        if self.config.draft.switchable and score >= speculate_at:
            self.set_steps(self.config.draft.num_steps)
        self.store.prune(self.config.weights.keep, (self.live, *self.pinned))
        return newest, stall

    def keep_faster(self) -> None:
        """Serve with the draft or without it, whichever decodes faster, once the draft was switched on.

        A draft that cannot be switched off in a running engine is left as it is.
        """
        if not self.config.draft.switchable or (self._comparison is None and not self.steps):
            return
        state = self.agent.live()
        comparison = self._comparison
        # Steps that something else has set, such as a new version's trial, are measured from here.
        if comparison is None or comparison.steps != self.steps:
            comparison = begin(state, self.steps)
        self._comparison = advance(comparison, state, self.config.draft.num_steps)
        self.set_steps(self._comparison.steps)

    def stop(self, *names: str) -> None:
        """Stop processes by name, or all."""
        for name in names or tuple(reversed(self.processes)):
            process = self.processes.pop(name, None)
            if process is not None:
                process.stop()

    def check(self) -> None:
        """Raise EngineError where a process has died."""
        for process in self.processes.values():
            process.check()
