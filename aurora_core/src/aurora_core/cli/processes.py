"""The commands that run the loop's processes, each in a container of its own."""

import argparse
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from aurora_core import credentials, listening
from aurora_core.cli.configured import configuration
from aurora_core.cli.paths import models_folder
from aurora_core.cli.terminal import leave
from aurora_core.config import DeploymentConfig
from aurora_core.errors import ConfigError
from aurora_core.protocol.trainer import STATUS_FILE
from aurora_core.weights.signing import Signing

if TYPE_CHECKING:
    from pathlib import Path

    from aurora_core.weights.lease import WriterLease

STOPPED = 128 + signal.SIGTERM
"""Exit code of a trainer that was asked to stop: it saved its state to resume elsewhere. With 0, a Job that
sees the pod's end before it sees that the pod is being deleted counts it as done, and never makes another."""


def _required(variable: str) -> str:
    """A credential that a process must not start without: what it protects would be open."""
    value = credentials.from_environment(variable)
    if not value:
        raise ConfigError(f"set the environment variable {variable}: without it anyone could control the engine")
    return value


def train(arguments: argparse.Namespace) -> None:
    """Train until what is configured is done, or until asked to stop."""
    from aurora_core.weights.lease import WriterLease  # noqa: PLC0415

    config = configuration(arguments)
    if followed(arguments, config, arguments.metrics_port):
        return
    work: Path = arguments.work
    # The first process of a container ignores what it has no handler for, also while it waits.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    with WriterLease(work / "training", on_lost=lambda: os.kill(os.getpid(), signal.SIGTERM)) as lease:
        _train_with(arguments, config, lease)


def followed(arguments: argparse.Namespace, config: DeploymentConfig, metrics_port: int | None = None) -> bool:
    """Whether this process is one of several ranks, but not the first, and trained as such; False at once in the first.

    Either computes with as many threads as are configured.
    """
    import torch  # noqa: PLC0415

    from aurora_core.training.group import rank_of  # noqa: PLC0415

    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    if not rank_of(os.environ):
        return False
    _follow(arguments, config, metrics_port)
    return True


def _follow(arguments: argparse.Namespace, config: DeploymentConfig, metrics_port: int | None) -> None:
    """Train as a rank that is not the first. Until it has joined the others, SIGTERM ends it at once.

    The first one of another machine answers scrapes, of its process alone: what training reports is rank 0's.
    """
    from prometheus_client import start_http_server  # noqa: PLC0415

    from aurora_core.models.source import resolve  # noqa: PLC0415
    from aurora_core.training import follower, group  # noqa: PLC0415

    if metrics_port is not None and group.leads_a_machine(os.environ):
        start_http_server(metrics_port, listening.wildcard())
    target = resolve(config.target, arguments.models or models_folder(), download=False)
    ranks = group.join(os.environ)
    following = follower.Follower(config.training, target, ranks)
    follower.install_signals(following)
    if not following.run():
        leave(f"aurora-core: rank {ranks.rank} ended with the others, one of which was asked to; the state is saved")
        sys.exit(STOPPED)


def _train_with(arguments: argparse.Namespace, config: DeploymentConfig, lease: "WriterLease") -> None:
    from aurora_core.models.source import resolve  # noqa: PLC0415
    from aurora_core.samples.open import open_source  # noqa: PLC0415
    from aurora_core.training.assembled import assembled  # noqa: PLC0415
    from aurora_core.training.group import gather  # noqa: PLC0415
    from aurora_core.training.run import install_signals  # noqa: PLC0415
    from aurora_core.training.start import Paths  # noqa: PLC0415

    work: Path = arguments.work
    target = resolve(config.target, arguments.models or models_folder(), download=False)
    token = credentials.from_environment("AURORA_SAMPLE_TOKEN")
    source = open_source(config.samples, work / "spool", token, target.hidden_size)
    paths = Paths.below(work, arguments.in_use, lease, Signing.from_environment())
    labels = dict(arguments.label)
    training = assembled(config, target, source, paths, gather(os.environ), arguments.metrics_port, labels)
    install_signals(training)
    try:
        training.run()
    finally:
        source.close()
    if not training.finished:
        sys.exit(STOPPED)


def engine(arguments: argparse.Namespace) -> None:
    """Become SGLang with the plugin."""
    from aurora_core.engine import launch  # noqa: PLC0415
    from aurora_core.engine.settings import Desired, EngineSettings  # noqa: PLC0415
    from aurora_core.models.source import resolve  # noqa: PLC0415
    from aurora_core.samples.open import ONLINE_ALONE  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    config = configuration(arguments)
    if config.samples.transport == "Ray":
        raise ConfigError(ONLINE_ALONE)
    work: Path = arguments.work
    signing = Signing.from_environment()
    store = WeightsStore(work / "weights", signing=signing)
    desired = Desired.read(arguments.desired)
    version, steps, fallback = store.to_serve(desired.version, desired.steps, desired.digest)
    if fallback:
        logging.getLogger(__name__).warning("%s", fallback)
    target = resolve(config.target, arguments.models or models_folder(), download=False)
    settings = EngineSettings(
        weights=store.root,
        version=version,
        target=target.fingerprint,
        spool=arguments.spool or work / "spool",
        dtype=launch.engine_dtype(target.path, config.target, config.serving),
        fallback=fallback,
        initial_steps=steps,
        samples=config.samples,
        strata=config.serving.strata,
        signing_keys=signing.keys if signing else (),
        signing_required=signing is None or signing.required,
        sample_token=credentials.from_environment("AURORA_SAMPLE_TOKEN"),
    )
    command = launch.speculative(
        target.path,
        config.target,
        config.serving,
        config.draft,
        settings,
        store.folder(version),
        arguments.runtime,
        launch.Secrets(_required("AURORA_ADMIN_KEY"), credentials.from_environment("AURORA_API_KEY")),
    )
    # The engine takes this process's place, so that signals reach it and its end is the container's.
    os.execvpe(command.arguments[0], command.arguments, dict(command.environment))  # noqa: S606


def agent(arguments: argparse.Namespace) -> None:
    """Run the sync agent."""
    import uvicorn  # noqa: PLC0415

    from aurora_core.agent.app import make  # noqa: PLC0415
    from aurora_core.agent.engine import Engine  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    engine = Engine(arguments.engine, _required("AURORA_ADMIN_KEY"))
    app = make(
        WeightsStore(arguments.work / "weights", signing=Signing.from_environment()),
        engine,
        _required("AURORA_AGENT_TOKEN"),
        name=dict(arguments.label).get("engine", ""),
        training=arguments.work / "training" / STATUS_FILE,
        record=arguments.work / "record",
        labels=dict(arguments.label),
    )
    uvicorn.run(app, host=listening.host(arguments.host), port=arguments.port, log_level="warning")


def init(arguments: argparse.Namespace) -> None:
    """Fetch the target, and publish version 0 where there is none."""
    from aurora_core.training.init import first_version  # noqa: PLC0415

    config = configuration(arguments)
    first = first_version(config, arguments.work, arguments.models or models_folder())
    print(first.model_dump_json(indent=2))
