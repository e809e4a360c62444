"""The command line: ``aurora loop | train | agent | init | verify``."""

import argparse
import logging
import os
import sys
from pathlib import Path

from aurora_core.config import LoopConfig, load
from aurora_core.errors import AuroraError
from aurora_core.models import smollm2
from aurora_core.models.target import Target


def _cache() -> Path:
    return Path(os.environ.get("AURORA_CACHE", Path.home() / ".cache" / "aurora"))


def resolve_target(config: LoopConfig) -> Target:
    """The target's checkpoint folder; the small demonstration model is made where it is named."""
    name = config.target.model
    return Target(smollm2.materialise(_cache() / "models") if name == smollm2.NAME else Path(name))


def _loop(arguments: argparse.Namespace) -> None:
    from aurora_core.loop.run import run  # noqa: PLC0415 (torch and more: only where needed)

    config = load(arguments.config)
    traffic = config.traffic
    if arguments.prompts is not None:
        traffic = traffic.model_copy(update={"prompts": arguments.prompts.resolve()})
    if arguments.seconds is not None:
        traffic = traffic.model_copy(update={"seconds": arguments.seconds})
    config = config.model_copy(update={"traffic": traffic})
    run(config, resolve_target(config), arguments.work.resolve(), live=sys.stdout.isatty())


def _train(arguments: argparse.Namespace) -> None:
    import torch  # noqa: PLC0415

    from aurora_core.samples.open import open_source  # noqa: PLC0415
    from aurora_core.training.metrics import TrainingMetrics  # noqa: PLC0415
    from aurora_core.training.run import Places, TrainingRun, install_signals  # noqa: PLC0415

    config = load(arguments.config)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    work: Path = arguments.work
    source = open_source(config.samples, work / "spool", os.environ.get("AURORA_SAMPLE_TOKEN", ""))
    metrics = TrainingMetrics(config.training.report_to, arguments.metrics_port, config.training.ttt_length)
    places = Places(work / "weights", work / "training", work / "training.json")
    training = TrainingRun(
        config.training, config.draft, config.samples, config.weights, resolve_target(config), source, places, metrics
    )
    install_signals(training)
    try:
        training.run()
    finally:
        source.close()


def _agent(arguments: argparse.Namespace) -> None:
    import uvicorn  # noqa: PLC0415

    from aurora_core.agent.app import make  # noqa: PLC0415
    from aurora_core.agent.engine import Engine  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    engine = Engine(arguments.engine, os.environ.get("AURORA_ADMIN_KEY", ""), os.environ.get("AURORA_API_KEY", ""))
    app = make(WeightsStore(arguments.weights), engine, os.environ.get("AURORA_AGENT_TOKEN", ""))
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


def _init(arguments: argparse.Namespace) -> None:
    from aurora_core.training.init import ensure_first  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    config = load(arguments.config)
    store = WeightsStore(arguments.work / "weights")
    print(ensure_first(store, config.draft, resolve_target(config), config.training.seed).model_dump_json(indent=2))


def _verify(arguments: argparse.Namespace) -> None:
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    store = WeightsStore(arguments.weights)
    for version in store.versions():
        manifest = store.verify(version)
        print(f"{version:06d} whole, step {manifest.step}, held-out accept length {manifest.holdout_accept_length}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aurora", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    loop = command("loop", "Serve, train and swap on this machine, and show what it gains.")
    loop.add_argument("--config", type=Path, required=True, help="YAML file of the loop")
    loop.add_argument("--prompts", type=Path, help='JSON lines of {"messages": [...]}, instead of the configured file')
    loop.add_argument("--seconds", type=int, help="how long each domain's traffic lasts")
    loop.add_argument("--work", type=Path, default=Path("work"), help="folder for weights, samples, logs and results")
    loop.set_defaults(run=_loop)

    train = command("train", "Train on the samples that arrive, and publish versions.")
    train.add_argument("--config", type=Path, required=True)
    train.add_argument("--work", type=Path, required=True)
    train.add_argument("--metrics-port", type=int, help="serve Prometheus metrics there")
    train.set_defaults(run=_train)

    agent = command("agent", "Run the sync agent beside an engine.")
    agent.add_argument("--weights", type=Path, required=True, help="root of the weights store")
    agent.add_argument("--engine", required=True, help="URL of the engine")
    agent.add_argument("--host", default="127.0.0.1")
    agent.add_argument("--port", type=int, default=30001)
    agent.set_defaults(run=_agent)

    init = command("init", "Publish version 0: the configured checkpoint, or a new draft.")
    init.add_argument("--config", type=Path, required=True)
    init.add_argument("--work", type=Path, required=True)
    init.set_defaults(run=_init)

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
        print(f"aurora: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
