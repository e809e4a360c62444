"""What only an accelerator can show, in one run of ten minutes: capture, its cost, swaps, day-0, training speed.

Needs a Python environment with this project, SGLang and a torch that sees the accelerator: `make gpu-check` with
``PYTHON`` (default python3). ``--small`` is the same on a CPU, to try the script itself. Each stage is measured apart:
one that fails is reported with its error, and the next one runs. The last line is one JSON object; ``--json`` writes
the same to a file after each stage, so that a run that is cut off loses one stage.

1. *exact*: hidden states of captured requests against transformers, row by row, CUDA graphs and overlap scheduling on.
2. *capture*: tokens per second at sample rates 1.0 and 0.05 over those at 0, on decode-heavy and prefill-heavy traffic.
3. *swap*: how long decoding waits for a swap under load.
4. *day-0*: from no draft to an accept length, trained on live traffic; tokens per second over target-only.
5. *dflash*: a block-parallel draft, which no CPU serves: exact, swapped and trained, in an engine of its own.
6. *training*: tokens per second and peak memory of an optimizer step at a wide shape, 256 to 32,768 tokens.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpu_serving as serving
import gpu_training
import torch
from bench import ROOT, heading, stack

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = ("exact", "capture", "swap", "day_zero", "dflash", "training")
SERVED = frozenset(("exact", "capture", "swap", "day_zero"))
"""Stages of the first engine."""


def main() -> None:
    """Run every stage; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "examples" / "smollm2.yaml")
    parser.add_argument("--small", action="store_true", help="as little as tries the script itself, on any machine")
    parser.add_argument("--work", type=Path, help="folder of weights, samples and logs; a temporary one by default")
    parser.add_argument("--stages", nargs="*", default=list(STAGES), choices=STAGES, help="which, in this order")
    parser.add_argument("--learn-seconds", type=float, help="of the stage day_zero")
    parser.add_argument("--json", type=Path, help="file for what was found so far, rewritten after each stage")
    options = parser.parse_args()
    size, cases = (serving.SMALL, gpu_training.SMALL) if options.small else (serving.Size(), gpu_training.Size())
    size = replace(size, learn_seconds=options.learn_seconds or size.learn_seconds)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.small:
        parser.error("torch sees no accelerator here: --small tries the script itself on a CPU")
    found: dict[str, Any] = {**heading("gpu_check"), "device": str(device)}
    if device.type == "cuda":
        found["device"] = torch.cuda.get_device_name()
    with stack(options.config, work=options.work) as (config, running, prompts):

        def started() -> None:
            """The first engine, once, for the stages that need it."""
            if "engine" not in running.processes:
                began = time.monotonic()
                running.start_engine()
                running.start_agent()
                running.set_steps(config.draft.num_steps)
                found["engine_seconds"] = round(time.monotonic() - began, 1)

        stages: dict[str, Callable[[], dict[str, Any]]] = {
            "exact": lambda: serving.exact(running, prompts, size, device),
            "capture": lambda: serving.capture(running, prompts, size),
            "swap": lambda: serving.swap(running, prompts, size),
            "day_zero": lambda: serving.learn(running, prompts, size, size.learn_seconds, device),
            "dflash": lambda: serving.dflash(running, prompts, size, device),
            "training": lambda: gpu_training.training(running.work.root / "wide", cases, device, running.stop),
        }
        for name in options.stages:
            began = time.monotonic()
            try:
                if name in SERVED:
                    started()
                found[name] = stages[name]()
            except Exception as error:  # noqa: BLE001 (whatever it is, it is reported, and the others are measured)
                found[name] = {"error": f"{type(error).__name__}: {error}"[:1500]}
            found[name]["seconds_of_stage"] = round(time.monotonic() - began, 1)
            print(f"{name}: {json.dumps(found[name])}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
