"""Hostile checkpoints: drafts as ``inspect`` and loading read them, targets as training does. How many end either.

    PYTHONPATH=e2e python benchmarks/fuzz_checkpoints.py --rounds 10000

Each round is a draft and a target with some values of config.json replaced, left out, moved or nested, or with bytes,
header or numbers of model.safetensors changed. Each must be read, or refused by one of this project's errors; what
``inspect`` finds no problem with must load, and what is read must be finite. Anything else is a failure, printed with
the seed that repeats it.
"""

import argparse
import logging
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import hostile_checkpoints
import hostile_files
import torch
from aurora_core.errors import ConfigError, WeightsError

_SLOW_SECONDS = 5.0
"""Of a round: reading tiny files must not take as long."""


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next")
    options = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    ends: Counter[str] = Counter()
    slowest, started = 0.0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aurora-fuzz-") as root:
        good = hostile_checkpoints.target(Path(root) / "target")
        own, hostile = Path(root) / "draft", Path(root) / "hostile"
        hostile_checkpoints.draft(own, good)
        hostile.mkdir()
        files = {folder: hostile_checkpoints.contents(folder) for folder in (own, good.path)}

        def read(folder: Path) -> str:
            if folder == own:
                return hostile_checkpoints.read_draft(hostile, good)
            return hostile_checkpoints.read_target(hostile)

        for seed, rng in enumerate(hostile_files.rounds(options.rounds, options.seed), options.seed):
            for folder, kind in ((own, "drafts"), (good.path, "targets")):
                began = time.thread_time()
                try:
                    hostile_checkpoints.change(rng, files[folder], hostile)
                    ends[read(folder)] += 1
                except (ConfigError, WeightsError):
                    ends[f"{kind} refused"] += 1
                except Exception:  # noqa: BLE001 (what this searches for)
                    ends["failed"] += 1
                    print(f"{kind}, seed {seed}\n{traceback.format_exc()}")
                took = time.thread_time() - began
                slowest = max(slowest, took)
                if took > _SLOW_SECONDS:
                    ends["failed"] += 1
                    print(f"{kind}, seed {seed}: {took:.1f} s")
    print(
        f"{options.rounds} rounds: {dict(ends)}; {time.monotonic() - started:.0f} s, slowest {slowest:.2f} s; "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )
    sys.exit(bool(ends["failed"]))


if __name__ == "__main__":
    main()
