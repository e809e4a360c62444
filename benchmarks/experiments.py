"""Sample efficiency by experiment: what makes a draft's accept length rise fastest, and what does not.

``measure`` makes data once (prompts of four domains, answered by the target), trains every variant of
``efficiency/variants.py`` from the same start on equally many tokens with several seeds, dealt to processes that share
one device, and simulates accept lengths on held-out prompts. Each run is appended to a file at once, so that one that
is cut off loses only what was not finished, and ``--resume`` does the rest; how many tokens a run has follows from a
calibration, so that all fit the time. ``pages`` compares, with paired intervals, and writes ``docs/experiments``.

On a GPU: python benchmarks/experiments.py measure --model FOLDER --device cuda --workers 8 --seconds 220 --out FOLDER
On a CPU, with less of all: python benchmarks/experiments.py measure --small --seconds 1800 --out FOLDER
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from aurora_core.models.target import Target
from efficiency.compare import FEWEST_SEEDS
from efficiency.data import Amount, record
from efficiency.trainer import Job
from efficiency.variants import VARIANTS, Baseline, Variant
from efficiency.workers import OneProcess, Workers, appended, tokens_of_a_run

SMALL = Amount(prompts=56, heldout=20, tokens=40, domains=2, together=32)
OF_CPU = Baseline(vocabulary=2048, batch=4, warmup=5)
"""Shorter steps than those of ``examples/smollm2.yaml``, so that a run of a minute has enough of them."""
ROOT = Path(__file__).parent.parent
RECORDED, NOTES = (ROOT / "benchmarks" / "efficiency" / name for name in ("runs.json", "notes.json"))
_OTHERS = 100
"""What other seeds begin with."""
_RESERVE = 0.93
"""Of the time, what is dealt out: some variants are slower than guessed."""


def _machine(device: torch.device) -> str:
    cores = len(os.sched_getaffinity(0))
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{platform.machine()}, {cores} cores"


def _seeds(variant: Variant, seeds: int) -> list[int]:
    """The same for all variants, but for the one that is the baseline with others."""
    return [s + _OTHERS * (variant.group == "noise") for s in range(seeds)]


def _heading(options: argparse.Namespace, device: torch.device, amount: Amount, baseline: Baseline) -> dict[str, Any]:
    return {
        "benchmark": "experiments",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(device),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "model": Path(options.model).name,
        "workers": options.workers,
        "seeds": options.seeds,
        "amount": asdict(amount),
        "baseline": asdict(baseline),
    }


def _earlier(found: Path, options: argparse.Namespace, alike: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an earlier call of the same kind measured, its heading first; nothing where there is nothing to resume.

    Raises:
        SystemExit: it measured something else.
    """
    if not (options.resume and found.exists()):
        return []
    lines: list[dict[str, Any]] = [json.loads(line) for line in found.read_text().splitlines()]
    wished = ("tokens",) if options.tokens else ()
    for key in ("machine", "torch", "transformers", "model", "workers", "seeds", "amount", "baseline", *wished):
        if json.dumps(lines[0][key]) != json.dumps(alike[key]):
            message = f"{found} has {key} {lines[0][key]}, not {alike[key]}: measure into another --out"
            raise SystemExit(message)
    return lines


def measure(options: argparse.Namespace, variants: Sequence[Variant]) -> None:
    """Make data, calibrate, and run what fits."""
    began = time.monotonic()
    device = torch.device(options.device)
    amount, baseline = (SMALL, OF_CPU) if options.small else (Amount(), Baseline())
    for wished in (options.out, options.data):
        if wished is not None:
            wished.mkdir(parents=True, exist_ok=True)
    found = options.out / "experiments.jsonl"
    with tempfile.TemporaryDirectory(prefix="aurora-experiments-") as temporary:
        folder: Path = options.data or Path(temporary)
        shared = options.device, options.model, folder, baseline
        workers = OneProcess(*shared) if options.workers == 1 else Workers.start(options.workers, *shared)
        try:
            if not (folder / "data.json").exists():
                record(Target(options.model), amount, folder, device)
            made = time.monotonic() - began
            if device.type == "cuda":
                torch.cuda.empty_cache()
            calibration = workers.calibrate()
            left = options.seconds - (time.monotonic() - began)
            fitting = tokens_of_a_run(variants, options.seeds, left * options.workers * _RESERVE, calibration)
            tokens = options.tokens or max(fitting, options.least_tokens)
            heading = {**_heading(options, device, amount, baseline), "tokens": tokens,
                       "seconds": round(tokens / calibration[0], 2), "data_seconds": round(made, 1),
                       "calibration": [round(x, 3) for x in calibration]}  # fmt: skip
            earlier = _earlier(found, options, heading)
            if earlier:
                heading = earlier[0]
            else:
                found.write_text(json.dumps(heading) + "\n")
            print(json.dumps(heading), flush=True)
            there = {(run["variant"], run["seed"]) for run in earlier[1:]}
            jobs = [
                Job(one, seed, heading["tokens"], heading["seconds"], baseline)
                for one in variants for seed in _seeds(one, options.seeds) if (one.name, seed) not in there
            ]  # fmt: skip
            # Two seeds of each give a verdict; more of them come when all have two.
            jobs.sort(key=lambda job: job.seed % _OTHERS >= FEWEST_SEEDS)
            done = workers.run(jobs, began + options.seconds, appended(found))
            print(f"{done} of {len(jobs)} runs in {time.monotonic() - began:.0f} s", flush=True)
        finally:
            workers.stop()


def pages(measured: Path) -> None:
    """Take what was measured into the repository, where there is something new, and write the pages."""
    from efficiency import pages as made  # noqa: PLC0415 (matplotlib is not needed to measure)
    from efficiency.results import compacted, read  # noqa: PLC0415

    if (new := measured / "experiments.jsonl").exists():
        RECORDED.write_text(json.dumps(compacted(new.read_text().splitlines()), separators=(",", ":")) + "\n")
    made.write(read(RECORDED), json.loads(NOTES.read_text()), ROOT / "docs" / "experiments")


def main() -> None:
    """Measure, or write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "pages"))
    parser.add_argument("--model", type=Path, help="folder of SmolLM2-135M-Instruct; by default the demonstration's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=1, help="processes that share the device")
    parser.add_argument("--seconds", type=float, default=220, help="of all, data included")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, help="of a run; by default what fits")
    parser.add_argument("--least-tokens", type=int, default=0, help="of a run, even if not all runs fit")
    parser.add_argument("--only", nargs="*", help="names of variants")
    parser.add_argument("--resume", action="store_true", help="run what an earlier call in --out has not finished")
    parser.add_argument("--small", action="store_true", help="what a CPU has time for")
    parser.add_argument("--data", type=Path, help="folder of data that an earlier call has made, or that is kept")
    parser.add_argument("--out", type=Path, default=Path("experiments"), help="folder of what was measured")
    options = parser.parse_args()
    if options.what == "pages":
        pages(options.out)
        return
    if options.model is None:
        from aurora_core.cli.paths import models_folder  # noqa: PLC0415 (only where the demonstration is installed)
        from aurora_demo import smollm2  # noqa: PLC0415

        options.model = smollm2.materialise(models_folder())
    variants = [one for one in VARIANTS if not options.only or one.name in options.only]
    measure(options, variants)


if __name__ == "__main__":
    main()
