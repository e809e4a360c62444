"""What searches for hostile inputs have in common: rounds, each of which follows from its seed, and how they end."""

import argparse
import platform
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping

import hostile_files

_SLOW_SECONDS = 5.0
"""Of processor time, for one part of a round: what it reads is small."""


def arguments(text: str | None) -> argparse.Namespace:
    """How many rounds, and from which seed on."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next")
    return parser.parse_args()


def search(options: argparse.Namespace, parts: Mapping[str, Callable[[random.Random], str]]) -> bool:
    """Run the rounds, print how they ended, and return whether any failed.

    Args:
        options: of :func:`arguments`.
        parts: of a round, by name, in order; each gets the round's random numbers and returns how it ended. What it
            raises is a failure, printed with its seed, as is taking long.
    """
    ends: Counter[str] = Counter()
    slowest, started = 0.0, time.monotonic()
    for seed, rng in enumerate(hostile_files.rounds(options.rounds, options.seed), options.seed):
        for name, part in parts.items():
            began = time.thread_time()
            try:
                ends[part(rng)] += 1
            except Exception:  # noqa: BLE001 (what this searches for)
                ends["failed"] += 1
                print(f"{name}, seed {seed}\n{traceback.format_exc()}")
            took = time.thread_time() - began
            slowest = max(slowest, took)
            if took > _SLOW_SECONDS:
                ends["failed"] += 1
                print(f"{name}, seed {seed}: {took:.1f} s")
    print(
        f"{options.rounds} rounds: {dict(ends)}; {time.monotonic() - started:.0f} s, slowest {slowest * 1000:.0f} ms; "
        f"Python {platform.python_version()}"
    )
    return ends["failed"] > 0
