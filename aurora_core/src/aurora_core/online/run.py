"""The process of mode Online: it places the actors, restarts what ends, and makes versions live until it is stopped."""

import hashlib
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

import ray
import torch

from aurora_core import credentials
from aurora_core.agent.client import AgentClient
from aurora_core.config import DeploymentConfig, OnlineConfig, ServingConfig, TrainingConfig
from aurora_core.engine.settings import ADMIN_KEY, Desired
from aurora_core.errors import ConfigError
from aurora_core.models.source import fetched, resolve
from aurora_core.online import placement
from aurora_core.online.activation import Activation
from aurora_core.online.cluster import Cluster, join_ray, start_ray
from aurora_core.online.endpoint import Endpoint
from aurora_core.online.engine_actor import START_SECONDS, EnginePlace
from aurora_core.online.trainer_actor import TrainerPlace
from aurora_core.protocol.trainer import STATUS_FILE, TrainerStatus
from aurora_core.training.init import ensure_first
from aurora_core.training.publisher import ALL
from aurora_core.weights.signing import Signing
from aurora_core.weights.store import WeightsStore

log = logging.getLogger(__name__)

AGENT_KEY = "AURORA_AGENT_TOKEN"
_TICK_SECONDS = 1.0
_LINE_SECONDS = 20.0
_PORTS_APART = 10
_TRAINER_NICE = 10


@dataclass(frozen=True)
class Options:
    """What the command was asked.

    Attributes:
        work: folder of weights and training state.
        models: folder of fetched models.
        address: of a Ray cluster to join; None to start one here.
        own_agents: whether engines' actors start the agents, and this process decides which version is live.
        desired: folder on an engine's node that says what it starts with.
        runtime: folder on an engine's node for files that it needs to run.
        in_use: file of the versions to keep, where others decide which those are.
        metrics_port: of the trainer's Prometheus endpoint.
        labels: of the trainer's metrics.
        file: of the configuration, which is followed: the process ends when it changes. None to keep to what was read.
    """

    work: Path
    models: Path
    address: str | None = None
    own_agents: bool = True
    desired: Path | None = None
    runtime: Path | None = None
    in_use: Path | None = None
    metrics_port: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None


def spool_below(config: OnlineConfig, work: Path) -> Path:
    """Where engines of one deployment keep samples in memory, unless it is configured."""
    mark = hashlib.sha256(str(work).encode()).hexdigest()[:8]
    return config.spool or Path("/dev/shm") / f"aurora-{os.getuid()}-{mark}"  # noqa: S108 (only its owner may enter)


def engine_places(config: DeploymentConfig, options: Options, seats: placement.Placement) -> list[EnginePlace]:
    """What each engine's actor needs. Several on one machine have ports of their own, behind one endpoint."""
    online, serving = config.online, config.serving
    spool, places = spool_below(online, options.work), []
    for number, seat in enumerate(seats.engines):
        name, apart = f"engine-{number}", _PORTS_APART * (number + 1)
        own = serving
        if online.engines > 1 and options.address is None:
            own = serving.model_copy(update={"port": serving.port + apart, "agent_port": serving.agent_port + apart})
        # Nothing of the trainer's: a change there leaves engines as they are.
        shared = config.model_copy(update={"serving": own, "training": TrainingConfig(), "online": OnlineConfig()})
        runtime = (options.runtime or spool.with_name(f"{spool.name}-runtime")) / name
        places.append(
            EnginePlace(
                name=name,
                config=shared,
                work=options.work,
                models=options.models,
                spool=spool / name,
                runtime=runtime,
                logs=(options.work if options.own_agents else runtime) / "logs",
                gpus=seat.numbers,
                agent=options.own_agents,
                desired=options.desired,
            )
        )
    return places


class Online:
    """All of it; also for the demonstration and for benchmarks, which decide themselves which version is live."""

    @classmethod
    def started(cls, config: DeploymentConfig, options: Options) -> Self:
        """Start or join Ray, and place the actors.

        Raises:
            ConfigError: what is configured cannot be placed, or is not of this mode.
            WeightsError: version 0 cannot be published.
        """
        if config.samples.transport != "Ray":
            raise ConfigError(
                f"samples.transport is {config.samples.transport}, and mode Online hands samples over by Ray: "
                "set it to Ray"
            )
        gpus = config.serving.device != "cpu" and torch.cuda.is_available()
        each = config.serving.tensor_parallel_size
        if options.address is None:
            there = placement.Machine(len(os.sched_getaffinity(0)), torch.cuda.device_count() if gpus else 0)
            seats = placement.here(config.online, each, there, gpus=gpus)
            _first_version(config, options)
            for key in (ADMIN_KEY, AGENT_KEY):
                # Actors have this process's environment, by which credentials reach what they start.
                os.environ.setdefault(key, secrets.token_urlsafe(24))
            start_ray(config.online, there.cpus, there.gpus)
        else:
            join_ray(options.address)
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            cuda = config.serving.device == "cuda" or any(
                node.get(placement.ENGINE_NODE) and node.get("GPU") for node in nodes
            )
            seats = placement.joined(config.online, each, nodes, gpus=cuda)
        trainer = TrainerPlace(
            # Nothing of the engines': a change there leaves it as it is.
            config=config.model_copy(
                update={"serving": ServingConfig(), "online": config.online.model_copy(update={"engines": 1})}
            ),
            work=options.work,
            models=options.models,
            gpus=seats.trainer.numbers,
            in_use=options.in_use or (options.work / "in-use" if options.own_agents else None),
            log=options.work / "logs" / "trainer.log" if options.own_agents else None,
            nice=0 if options.address else _TRAINER_NICE,
            metrics_port=options.metrics_port,
            labels=options.labels,
        )
        cluster = Cluster(engine_places(config, options, seats), trainer, seats, options.address is not None)
        online = cls(config, options, cluster)
        try:
            cluster.place()
        except BaseException:
            online.stop()
            raise
        return online

    def __init__(self, config: DeploymentConfig, options: Options, cluster: Cluster) -> None:
        self.config = config
        self.options = options
        self.cluster = cluster
        key = credentials.from_environment(AGENT_KEY)
        self._endpoint: Endpoint | None = None
        self.agents = (
            [AgentClient(p.agent_url, key, name=p.name) for p in cluster.engines] if options.own_agents else []
        )

    def wait(self, desired: Desired) -> None:
        """Wait until the engines serve.

        Raises:
            EngineError: they do not.
        """
        self.cluster.wait_until_served(START_SECONDS, desired)
        if len(self.cluster.engines) > 1 and not self.cluster.joined and self._endpoint is None:
            serving = self.config.serving
            self._endpoint = Endpoint(serving.host, serving.port, [place.url for place in self.cluster.engines])

    def training(self) -> TrainerStatus:
        """How training goes."""
        try:
            return TrainerStatus.model_validate_json((self.options.work / "training" / STATUS_FILE).read_bytes())
        except (OSError, ValueError):
            return TrainerStatus()

    def stop(self) -> None:
        """End the actors, and Ray where it was started here."""
        if self._endpoint is not None:
            self._endpoint.close()
        self.cluster.stop()
        ray.shutdown()


def _first_version(config: DeploymentConfig, options: Options) -> None:
    store = WeightsStore(options.work / "weights", signing=Signing.from_environment())
    target, draft = resolve(config.target, options.models), fetched(config.draft, options.models)
    ensure_first(store, draft, target, config.training.seed)
    in_use = options.work / "in-use"
    if not in_use.exists():
        # Until it is known which versions are in use.
        in_use.write_text(ALL)


def run(config: DeploymentConfig, options: Options, say: Callable[[str], None]) -> bool:
    """Serve and train until SIGTERM or SIGINT, or until the file of the configuration changes where it is followed.

    Args:
        config: of the deployment.
        options: of the command.
        say: shows a line of what happens.

    Returns:
        Whether it ended for the next process to go by another configuration.

    Raises:
        ConfigError, WeightsError: see :meth:`Online.started`.
        EngineError: the engines do not start.
    """
    stopping = threading.Event()
    online = Online.started(config, options)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            sys.exit(1)
        stopping.set()
        # Also out of a wait for engines that do not come.
        raise KeyboardInterrupt

    # After Ray's own handlers, which would end this process at once.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    left = False
    try:
        left = _serve(online, say)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        if left:
            ray.shutdown()
        else:
            online.stop()
    return left


def _serve(online: Online, say: Callable[[str], None]) -> bool:
    """Serve until the configuration's file changes; returns True, because the actors are left to the next process."""
    options, config = online.options, online.config
    configured = _content(options.file)
    say(f"{config.online.engines} engines and the trainer start; logs are in {options.work / 'logs'}")
    activation = None
    if options.own_agents:
        store = WeightsStore(options.work / "weights", signing=Signing.from_environment())
        activation = Activation(config, store, online.agents, options.work / "record", options.work / "in-use")
    # Where a folder or an operator says what to serve, this is not read.
    desired = activation.desired if activation else Desired(version=0, steps=0)
    online.wait(desired)
    say(f"serving at http://{config.serving.host}:{config.serving.port}/v1")
    next_line = 0.0
    while _content(options.file) == configured:
        time.sleep(_TICK_SECONDS)
        online.cluster.run(activation.desired if activation else desired)
        swapped = activation is not None and activation.tick()
        if swapped or time.monotonic() >= next_line:
            next_line = time.monotonic() + _LINE_SECONDS
            say(line(online, activation))
    say("the configuration changed: this process ends, and the next one takes over what stays as it is")
    return True


def _content(file: Path | None) -> bytes | None:
    """Of a file; None where there is none to follow, or none for now."""
    try:
        return None if file is None else file.read_bytes()
    except OSError:
        return None


def line(online: Online, activation: Activation | None) -> str:
    """Where everything is, in one line."""
    training, reports = online.training(), online.cluster.reports()
    up = [found for found in reports.values() if found is not None and found.up]
    lost = sum(sum(found.lost.values()) for found in reports.values() if found is not None)
    parts = [f"{len(up)} of {len(reports)} engines serve"]
    if activation is not None:
        lag = "-" if activation.lag is None else f"{activation.lag:.1f} s"
        parts.append(f"version {activation.desired.version}, {activation.desired.steps} draft steps")
        parts.append(f"capture to live {lag}, decoding waited {activation.stall * 1e3:.1f} ms")
    accepted = "-" if training.accept_length is None else f"{training.accept_length:.2f}"
    parts.append(f"trained {training.step} steps on {training.received} samples, holdout accept length {accepted}")
    parts.append(f"{sum(found.waiting for found in up)} samples wait, {lost} lost")
    if online.cluster.restarts:
        parts.append("restarts " + ", ".join(f"{name} {n}" for name, n in online.cluster.restarts.items()))
    return "; ".join(parts)
