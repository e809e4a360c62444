"""Engines of several targets one after the other or side by side, each in a fork: SGLang is imported once.

``python serve.py FOLDER...``: each with a target's checkpoint in it; what was asked and answered goes beside it.
"""

import os
import sys
import traceback
from pathlib import Path

import adapters
import kinds
import published
import torch
from aurora_core.config import DraftConfig
from aurora_core.models.target import Target
from aurora_core.protocol.controls import Control
from in_process import TARGET, Ask, InProcess

SIDE_BY_SIDE = 2
STEPS, VOCABULARY = 3, 96
ARGUMENTS = ("--chunked-prefill-size", "64", "--max-total-tokens", "600")
SEEING = "qwen3_vl"
"""Folder of the target that is shown an image."""
KINDS = "kinds"
"""Folder of the engine that is asked in each way; those of the others have no tokenizer."""
ADAPTERS = "adapters"
"""Folder of the engine with LoRA adapters."""


def prompts(vocabulary: int) -> dict[str, list[int]]:
    """Short, longer than a chunk of prefill, two that begin alike, and another."""
    generator = torch.Generator().manual_seed(1)

    def some(count: int) -> list[int]:
        found: list[int] = torch.randint(10, vocabulary, (count,), generator=generator).tolist()
        return found

    shared = some(70)
    return {
        "short": some(5),
        "chunked": some(150),
        "prefix-0": shared + some(20),
        "prefix-1": shared + some(9),
        "other": some(80),
    }


def served(folder: Path) -> None:
    """Ask an engine for everything that a target must be able to do, or that a draft must where there is one."""
    if (folder / published.DRAFT).exists():
        published.given(folder)
        return
    draft = DraftConfig(draft_vocab_size=VOCABULARY, num_steps=STEPS, num_draft_tokens=STEPS + 1)
    texts = prompts(Target(folder / TARGET).vocab_size)
    if folder.name == KINDS:
        kinds.asked(folder, draft, ARGUMENTS, texts)
        return
    if folder.name == ADAPTERS:
        adapters.asked(folder, ("--skip-tokenizer-init", *ARGUMENTS), texts)
        return
    engine = InProcess(folder, draft, ("--skip-tokenizer-init", *ARGUMENTS))
    engine.ask(Ask("short", texts["short"]), Ask("chunked", texts["chunked"]))
    if folder.name == SEEING:
        engine.ask(kinds.picture(texts["short"], texts["other"]))
    engine.ask(Ask("prefix-0", texts["prefix-0"]))
    engine.ask(Ask("prefix-1", texts["prefix-1"]))
    engine.set(Control.STEPS, 0)
    engine.ask(Ask("off-0", texts["chunked"]), Ask("off-1", texts["short"]))
    engine.set(Control.STEPS, STEPS)
    engine.ask(Ask("on", texts["short"]))
    engine.swap()
    engine.ask(Ask("swapped-0", texts["chunked"]), Ask("swapped-1", texts["prefix-0"]))
    engine.set(Control.SAMPLE_RATE, 0)
    engine.ask(Ask("uncaptured", texts["other"]))
    engine.set(Control.SAMPLE_RATE, 1)
    engine.ask(Ask("rest", texts["other"] + texts["short"]))
    engine.finish(uncaptured=1)


def _in_a_fork(folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    log = (folder / "log.txt").open("w")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    status = 0
    try:
        served(folder)
    except BaseException:  # noqa: BLE001 (whatever it is, it is in the log)
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Serve each folder's target."""
    os.environ |= {"SGLANG_USE_CPU_ENGINE": "1", "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    import sglang.srt.managers.scheduler  # noqa: PLC0415 (before the forks)
    import sglang.srt.models.registry  # noqa: F401, PLC0415

    waiting, running = [Path(name) for name in sys.argv[1:]], 0
    while waiting or running:
        if waiting and running < SIDE_BY_SIDE:
            _in_a_fork(waiting.pop(0))
            running += 1
        else:
            os.wait()
            running -= 1


if __name__ == "__main__":
    main()
