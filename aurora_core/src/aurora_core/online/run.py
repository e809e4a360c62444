"""The process of mode Online: it starts the actors, restarts what ends, and makes versions live until it is stopped."""

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Literal, Self

import ray
import torch

from aurora_core import credentials
from aurora_core.agent.client import AgentClient
from aurora_core.config import DeploymentConfig
from aurora_core.engine.settings import ADMIN_KEY, Desired
from aurora_core.errors import ConfigError
from aurora_core.online import placement
from aurora_core.online.activation import Activation
from aurora_core.online.cluster import Cluster
from aurora_core.online.connection import join_ray, start_ray
from aurora_core.online.endpoint import Endpoint
from aurora_core.online.engine_actor import START_SECONDS
from aurora_core.online.prompts import Feed
from aurora_core.online.setup import Options, engine_setups, trainer_setups
from aurora_core.online.shown import line
from aurora_core.protocol.trainer import STATUS_FILE, TrainerStatus
from aurora_core.training.init import first_version
from aurora_core.training.publisher import ALL
from aurora_core.weights.signing import Signing
from aurora_core.weights.store import WeightsStore

log = logging.getLogger(__name__)

AGENT_KEY = "AURORA_AGENT_TOKEN"
_TICK_SECONDS = 1.0
_LINE_SECONDS = 20.0
_QUIET_SECONDS = 5.0
"""How long nothing may be left to do before all prompts are called trained on: samples are on their way meanwhile."""


End = Literal["changed", "trained"]
"""Why it ended by itself: the configuration changed, or all prompts are asked and trained on."""


class Online:
    """All of it; also for the demonstration and for benchmarks, which decide themselves which version is live."""

    @classmethod
    def started(cls, config: DeploymentConfig, options: Options) -> Self:
        """Start or join Ray, and start the actors.

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
            first_version(config, options.work, options.models)
            in_use = options.work / "in-use"
            if not in_use.exists():
                # Until it is known which versions are in use.
                in_use.write_text(ALL)
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
        cluster = Cluster(
            engine_setups(config, options, seats),
            trainer_setups(config, options, seats),
            seats,
            options.address is not None,
        )
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
        self._feed: Feed | None = None
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
            self._endpoint = Endpoint(serving.host, serving.port, [setup.url for setup in self.cluster.engines])
            self._endpoint.start()

    def training(self) -> TrainerStatus:
        """How training goes."""
        return TrainerStatus.of(self.options.work / "training" / STATUS_FILE)

    def feed(self) -> Feed | None:
        """Begin to ask what a data set has; None without one.

        Raises:
            ConfigError: the file of what was answered before cannot be read.
        """
        asked, engines = self.options.prompts, [setup.url for setup in self.cluster.engines]
        if asked is None:
            return None
        key = credentials.from_environment(ADMIN_KEY)
        asked = replace(asked, requesting=replace(asked.requesting, api_key=key))
        url = engines[0] if self._endpoint is None else self._endpoint.url
        self._feed = Feed(asked, url, engines, self.options.work / "prompts.answered")
        self._feed.start()
        return self._feed

    def idle(self, feed: Feed) -> bool:
        """Whether all prompts are asked, and the trainer has learned of the answers what it may."""
        if not feed.done:
            return False
        reports = self.cluster.reports().values()
        taken = all(found is not None and not found.waiting for found in reports)
        return taken and (self.training().waiting or self.cluster.finished)

    def stop(self) -> None:
        """End the actors, and Ray where it was started here."""
        if self._feed is not None:
            self._feed.stop()
        if self._endpoint is not None:
            self._endpoint.close()
        self.cluster.stop()
        ray.shutdown()


def run(config: DeploymentConfig, options: Options, say: Callable[[str], None]) -> bool:
    """Serve and train until SIGTERM or SIGINT, or until the file of the configuration changes where it is followed.

    Args:
        config: of the deployment.
        options: of the command.
        say: shows a line of what happens.

    Returns:
        Whether it ended by itself: for the next process to go by another configuration, or with all prompts done.

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
    end: End | None = None
    try:
        end = _serve(online, say)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        if end == "changed":
            ray.shutdown()
        else:
            online.stop()
    return end is not None


def _serve(online: Online, say: Callable[[str], None]) -> End:
    """Serve until there is an end. Where the configuration changed, the actors are left to the next process."""
    options, config = online.options, online.config
    configured = _content(options.file)
    say(f"{config.online.engines} engines and the trainer start; logs are in {options.work / 'logs'}")
    activation = None
    if options.own_agents:
        store = WeightsStore(options.work / "weights", signing=Signing.from_environment())
        activation = Activation.resumed(config, store, online.agents, options.work / "record", options.work / "in-use")
    # Where a folder or an operator says what to serve, this is not read.
    desired = activation.desired if activation else Desired(version=0, steps=0)
    online.wait(desired)
    say(f"serving at http://{config.serving.host}:{config.serving.port}/v1")
    feed = online.feed()
    next_line, quiet = 0.0, time.monotonic()
    while _content(options.file) == configured:
        time.sleep(_TICK_SECONDS)
        online.cluster.run(activation.desired if activation else desired)
        swapped = activation is not None and activation.tick()
        if swapped or time.monotonic() >= next_line:
            next_line = time.monotonic() + _LINE_SECONDS
            say(line(online.cluster, online.training(), activation, feed))
        if feed is None or not feed.asked.until_trained or not online.idle(feed):
            quiet = time.monotonic()
        elif time.monotonic() > quiet + _QUIET_SECONDS:
            say(f"all prompts are asked and trained on: {line(online.cluster, online.training(), activation, feed)}")
            return "trained"
    say("the configuration changed: this process ends, and the next one takes over what stays as it is")
    return "changed"


def _content(file: Path | None) -> bytes | None:
    """The bytes of a file; None where there is none to follow, or none for now."""
    try:
        return None if file is None else file.read_bytes()
    except OSError:
        return None
