"""The command line: ``aurora-core loop | init | engine | agent | train | versions | verify``."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_core import credentials
from aurora_core.config import DeploymentConfig, load, read
from aurora_core.errors import AuroraError, ConfigError
from aurora_core.protocol.trainer import STATUS_FILE
from aurora_core.weights.signing import Signing

if TYPE_CHECKING:
    from aurora_core.models.target import Target
    from aurora_core.weights.lease import WriterLease


_STOPPED = 128 + signal.SIGTERM
"""Exit code of a trainer that was asked to stop: it saved its state to resume elsewhere. With 0, a Job that
sees the pod's end before it sees that the pod is being deleted counts it as done, and never makes another."""


def _required(variable: str) -> str:
    """A credential that a process must not start without: what it protects would be open."""
    value = credentials.from_environment(variable)
    if not value:
        raise ConfigError(f"set the environment variable {variable}: without it anyone could control the engine")
    return value


def _cache() -> Path:
    return Path(os.environ.get("AURORA_CACHE", Path.home() / ".cache" / "aurora"))


def _models() -> Path:
    return _cache() / "models"


def resolve_target(config: DeploymentConfig) -> "Target":
    """The target's checkpoint folder; what is not on this machine yet is fetched into the cache."""
    from aurora_core.models.source import resolve  # noqa: PLC0415 (torch and more: only where needed)

    return resolve(config.target, _models())


def _loop(arguments: argparse.Namespace) -> None:
    from aurora_core.loop.run import run  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.models.source import fetched  # noqa: PLC0415

    config = load(arguments.config)
    traffic = config.traffic
    if arguments.prompts is not None:
        traffic = traffic.model_copy(update={"prompts": arguments.prompts.resolve()})
    if arguments.seconds is not None:
        traffic = traffic.model_copy(update={"seconds": arguments.seconds})
    config = config.model_copy(update={"traffic": traffic, "draft": fetched(config.draft, _models())})
    run(config, resolve_target(config), arguments.work.resolve(), live=sys.stdout.isatty())


def _train(arguments: argparse.Namespace) -> None:
    import torch  # noqa: PLC0415

    from aurora_core.weights.lease import WriterLease  # noqa: PLC0415

    config = read(arguments.config, DeploymentConfig)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    work: Path = arguments.work
    # The first process of a container ignores what it has no handler for, also while it waits.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_STOPPED))
    with WriterLease(work / "training", on_lost=lambda: os.kill(os.getpid(), signal.SIGTERM)) as lease:
        _train_with(arguments, config, lease)


def _train_with(arguments: argparse.Namespace, config: DeploymentConfig, lease: "WriterLease") -> None:
    from aurora_core.models.source import resolve  # noqa: PLC0415
    from aurora_core.samples.open import open_source  # noqa: PLC0415
    from aurora_core.training.metrics import TrainingMetrics  # noqa: PLC0415
    from aurora_core.training.run import TrainingRun, install_signals  # noqa: PLC0415
    from aurora_core.training.start import Paths, resume  # noqa: PLC0415

    work: Path = arguments.work
    target = resolve(config.target, arguments.models or _models(), download=False)
    source = open_source(config.samples, work / "spool", credentials.from_environment("AURORA_SAMPLE_TOKEN"))
    hyper, labels = config.training, dict(arguments.label)
    metrics = TrainingMetrics(hyper.report_to, arguments.metrics_port, hyper.ttt_length, labels)
    status, signing = work / "training" / STATUS_FILE, Signing.from_environment()
    paths = Paths(work / "weights", work / "training", status, arguments.in_use, lease, signing)
    training = TrainingRun(
        resume(config.training, target, paths),
        config.draft,
        config.samples,
        config.weights,
        target,
        source,
        paths,
        metrics,
    )
    install_signals(training)
    try:
        training.run()
    finally:
        source.close()
    if not training.finished:
        sys.exit(_STOPPED)


def _engine(arguments: argparse.Namespace) -> None:
    from aurora_core.engine import launch  # noqa: PLC0415
    from aurora_core.engine.settings import Desired, EngineSettings  # noqa: PLC0415
    from aurora_core.models.source import resolve  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    config = read(arguments.config, DeploymentConfig)
    work: Path = arguments.work
    signing = Signing.from_environment()
    store = WeightsStore(work / "weights", signing=signing)
    desired = Desired.read(arguments.desired)
    version, steps, fallback = store.to_serve(desired.version, desired.steps, desired.digest)
    if fallback:
        logging.getLogger(__name__).warning("%s", fallback)
    target = resolve(config.target, arguments.models or _models(), download=False)
    settings = EngineSettings(
        weights=store.root,
        version=version,
        target=target.fingerprint,
        spool=work / "spool",
        dtype=launch.engine_dtype(target.path, config.target, config.serving),
        fallback=fallback,
        initial_steps=steps,
        samples=config.samples,
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


def _agent(arguments: argparse.Namespace) -> None:
    import uvicorn  # noqa: PLC0415

    from aurora_core.agent.app import make  # noqa: PLC0415
    from aurora_core.agent.engine import Engine  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    engine = Engine(arguments.engine, _required("AURORA_ADMIN_KEY"))
    app = make(
        WeightsStore(arguments.work / "weights", signing=Signing.from_environment()),
        engine,
        _required("AURORA_AGENT_TOKEN"),
        training=arguments.work / "training" / STATUS_FILE,
        record=arguments.work / "record",
        labels=dict(arguments.label),
    )
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


def _init(arguments: argparse.Namespace) -> None:
    from aurora_core.models.source import fetched, resolve  # noqa: PLC0415
    from aurora_core.training.init import ensure_first  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    config = read(arguments.config, DeploymentConfig)
    store = WeightsStore(arguments.work / "weights", signing=Signing.from_environment())
    models = arguments.models or _models()
    target, draft = resolve(config.target, models), fetched(config.draft, models)
    print(ensure_first(store, draft, target, config.training.seed).model_dump_json(indent=2))


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not (name and value):
        message = f"expected NAME=VALUE, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return name, value


def _verify(arguments: argparse.Namespace) -> None:
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    store = WeightsStore(arguments.weights, signing=Signing.from_environment())
    for version in store.versions():
        manifest = store.verify(version)
        print(f"{version:06d} verified, step {manifest.step}, held-out accept length {manifest.holdout_accept_length}")


def _versions(arguments: argparse.Namespace) -> None:
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    store = WeightsStore(arguments.work / "weights", signing=Signing.from_environment())
    for version in store.versions():
        manifest = store.manifest(version)
        print(manifest.info().model_dump_json())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aurora-core", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    loop = command("loop", "Serve, train and swap on this machine, and show what it gains.")
    loop.add_argument("--config", type=Path, required=True, help="YAML file of the loop")
    loop.add_argument("--prompts", type=Path, help='JSON lines of {"messages": [...]}, instead of the configured file')
    loop.add_argument("--seconds", type=int, help="how long each domain's traffic lasts")
    loop.add_argument("--work", type=Path, default=Path("work"), help="folder for weights, samples, logs and results")
    loop.set_defaults(run=_loop)

    def process(name: str, text: str, *, models: bool = True) -> argparse.ArgumentParser:
        parser = command(name, text)
        parser.add_argument("--work", type=Path, required=True, help="folder of weights, samples and training state")
        if models:
            parser.add_argument("--config", type=Path, required=True, help="YAML file that all processes share")
            parser.add_argument("--models", type=Path, help="folder of fetched models, by default in AURORA_CACHE")
        return parser

    label: dict[str, Any] = {"type": _label, "action": "append", "default": [], "help": "NAME=VALUE, on every metric"}
    train = process("train", "Train on the samples that arrive, and publish versions.")
    train.add_argument("--metrics-port", type=int, help="serve Prometheus metrics there")
    train.add_argument("--in-use", type=Path, help="file of versions to keep; with it, the trainer prunes old ones")
    train.add_argument("--label", **label)
    train.set_defaults(run=_train)

    engine = process("engine", "Become SGLang with the plugin, on the version that is desired.")
    engine.add_argument("--desired", type=Path, required=True, help="folder of the files version and steps")
    engine.add_argument("--runtime", type=Path, required=True, help="folder for files that the engine needs to run")
    engine.set_defaults(run=_engine)

    agent = process("agent", "Run the sync agent beside an engine.", models=False)
    agent.add_argument("--engine", required=True, help="URL of the engine")
    agent.add_argument("--host", default="127.0.0.1")
    agent.add_argument("--port", type=int, default=30001)
    agent.add_argument("--label", **label)
    agent.set_defaults(run=_agent)

    init = process("init", "Fetch the target, and publish version 0: the configured checkpoint, or a new draft.")
    init.set_defaults(run=_init)

    versions = process("versions", "List the versions of a store, a JSON object in each line.", models=False)
    versions.set_defaults(run=_versions)

    verify = command("verify", "Check every byte of every version of a store.")
    verify.add_argument("weights", type=Path)
    verify.set_defaults(run=_verify)
    return parser


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except AuroraError as error:
        print(f"aurora-core: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
