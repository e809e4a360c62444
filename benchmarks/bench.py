"""What the benchmarks share: the demonstration's configuration, a stack of processes, and a printed heading."""

import argparse
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from aurora_core.cli.paths import models_folder
from aurora_core.datasets.conversations import read_prompts
from aurora_demo import smollm2
from aurora_demo.config import LoopConfig, load
from aurora_demo.plots import cores
from aurora_demo.stack import Stack, Work
from transformers import AutoTokenizer

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "e2e"))
from ports import free_port  # noqa: E402 (its folder is no package)


def arguments(text: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--config", type=Path, default=ROOT / "examples" / "smollm2.yaml")
    return parser


@contextmanager
def stack(
    config_path: Path,
    transport: Literal["Filesystem", "Mooncake"] = "Filesystem",
    work: Path | None = None,
    *,
    kind: type[Stack] = Stack,
    training: Mapping[str, object] | None = None,
    serving: Mapping[str, object] | None = None,
) -> Iterator[tuple[LoopConfig, Stack, list[str]]]:
    """A stack, nothing started yet, and the first domain's prompts; all is stopped at the end.

    Without ``work`` the stack's folder is a temporary one. ``kind`` says how its processes are started; ``training``
    replaces hyperparameters, ``serving`` what the engine is configured with.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config = load(config_path)
    samples = {
        "transport": transport,
        "mooncake_master": f"127.0.0.1:{free_port()}",
        "mooncake_metadata": f"http://127.0.0.1:{free_port()}/metadata",
        "trainer_url": f"http://127.0.0.1:{free_port()}",
    }
    ports = {"port": free_port(), "agent_port": free_port()}
    # Several benchmarks may run at once.
    config = config.model_copy(
        update={
            "samples": config.samples.model_copy(update=samples),
            "serving": config.serving.model_copy(update={**ports, **(serving or {})}),
            "training": config.training.model_copy(update=dict(training or {})),
        }
    )
    target = smollm2.target(config.target, models_folder())
    prompts = read_prompts(config.traffic.prompts, AutoTokenizer.from_pretrained(target.path))
    with tempfile.TemporaryDirectory(prefix="aurora-bench-") as folder:
        made = kind.prepared(config, target, Work(work or Path(folder)))
        try:
            yield config, made, prompts
        finally:
            made.stop()


def heading(name: str) -> dict[str, str]:
    """What is needed to compare a figure: when, where, with which versions."""
    return {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {cores()} cores",
        "sglang": version("sglang"),
        "torch": version("torch"),
    }


def report(name: str, **figures: object) -> None:
    """One line of JSON."""
    print(json.dumps({**heading(name), **figures}))
