"""Hostile resources, children and agents' answers, through parse and plan: how many end a reconcile.

    PYTHONPATH=e2e python benchmarks/fuzz.py --rounds 10000

Each round is one reconcile without the network: a spec, a status, children, pods and answers, each with some parts
replaced, left out, repeated or added to, nested 300 levels deep among them. A round is refused (the resource gets the
condition SpecUnreadable) or planned; anything else is a failure, printed with the seed that repeats it.
"""

import argparse
import platform
import sys
import time
import traceback
from collections import Counter

from hostile_rounds import round_of


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next")
    options = parser.parse_args()
    ends: Counter[str] = Counter()
    slowest, started = 0.0, time.monotonic()
    for seed in range(options.seed, options.seed + options.rounds):
        began = time.monotonic()
        try:
            ends["refused" if round_of(seed) is None else "planned"] += 1
        except Exception:  # noqa: BLE001 (what this searches for)
            ends["failed"] += 1
            print(f"seed {seed}\n{traceback.format_exc()}")
        slowest = max(slowest, time.monotonic() - began)
    took = time.monotonic() - started
    print(
        f"{options.rounds} rounds: {ends['planned']} planned, {ends['refused']} refused, {ends['failed']} failed; "
        f"{took:.0f} s, slowest {slowest * 1000:.0f} ms; Python {platform.python_version()}"
    )
    sys.exit(bool(ends["failed"]))


if __name__ == "__main__":
    main()
