"""What a verify cycle costs in target steps, and which part of it takes what.

One SGLang scheduler with the plugin, in one process, without HTTP: the quickstart's target and a new draft of its size.
The same requests are answered with each number of draft steps in turn, many times. What is counted is the processor
time of the engine's one thread, so that other work on the machine matters little. Of 0 draft steps it is target-only,
as the gate compares it. ``--cpu avx2`` is a CPU with AVX2 alone. ``--products`` times matrix products instead.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "e2e"))
PARTS = ("draft", "verify pass", "verify", "draft extend", "results", "schedule", "capture")
"""Nested ones are taken off the outer ones: "verify" is without its pass, "schedule" what is left of an iteration."""


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", choices=("both", "here", "avx2"), default="both")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="requests at a time")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 4], help="draft steps, beside 0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=24, help="of each number of steps, in a round")
    parser.add_argument("--prompt", type=int, default=100, help="tokens of a prompt")
    parser.add_argument("--draft", type=Path, help="a version's folder; a new draft without it")
    parser.add_argument("--vocabulary", type=int, default=8192, help="of a new draft")
    parser.add_argument("--products", action="store_true", help="the matrix products of a pass alone, of 1 to 64 rows")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _shown(cpu: str, found: dict[str, Any]) -> None:
    print(f"\n{cpu}: {found['dtype']}, milliseconds of one thread")
    head = "".join(f"{part:>13}" for part in PARTS)
    print(f"{'batch':>5} {'steps':>5} {'ms':>8} {'target steps':>13}{head}")
    for row in found["rows"]:
        parts = "".join(f"{row['parts'].get(part, 0):>13.2f}" for part in PARTS)
        print(f"{row['batch']:>5} {row['steps']:>5} {row['ms']:>8.2f} {row['target_steps']:>13.2f}{parts}")


def main() -> None:
    """Measure each kind of CPU in a process of its own, and print the parts."""
    options = parsed()
    if options.inside and options.products:
        from cycle_products import table  # noqa: PLC0415 (torch reads the environment when it is imported)

        print(json.dumps(table()))
        return
    if options.inside:
        from cycle_engine import measured  # noqa: PLC0415 (SGLang reads the environment when it is imported)

        print(json.dumps(measured(options)))
        return
    from machine import AVX2_ONLY  # noqa: PLC0415 (its folder is no package)

    kinds = ("here", "avx2") if options.cpu == "both" else (options.cpu,)
    for cpu in kinds:
        environment = {**os.environ, **(AVX2_ONLY if cpu == "avx2" else {})}
        command = [sys.executable, __file__, *sys.argv[1:], "--inside"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the engine of {cpu} ended with {done.returncode}: see above")
        found = json.loads(done.stdout.splitlines()[-1])
        if options.output == "json" or options.products:
            print(json.dumps({"cpu": cpu, **found}))
        else:
            _shown(cpu, found)


if __name__ == "__main__":
    main()
