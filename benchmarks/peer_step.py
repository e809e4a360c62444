"""One trainer in a process of its own, in its own environment, which :mod:`peers` directs line by line."""

import argparse
import ctypes
import gc
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peer_cases import Case, Document, Shape, random_documents, read_documents
from peer_speculators import speculators
from peer_trainers import Driven, Given, ours, specforge, torchspec
from safetensors.torch import save_file

TRAINERS: dict[str, Callable[[Given], Driven]] = {
    "ours": ours,
    "specforge": lambda given: specforge(given, compact=False),
    "specforge-compact": lambda given: specforge(given, compact=True),
    "torchspec": lambda given: torchspec(given, "sdpa"),
    "torchspec-flex": lambda given: torchspec(given, "flex_attention"),
    "speculators": lambda given: speculators(given, fused=given.device.type == "cuda"),
    "speculators-eager": lambda given: speculators(given, fused=False),
}
_LEFT_OUT = ("embed_tokens", "verifier_", "d2t", "t2d", "rotary")
"""What is not trained, of the names of a draft's weights."""


def _memory(name: str) -> float:
    """Of this process, in GiB: VmRSS (now) or VmHWM (most since it was reset)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) / 2**20


class Bench:
    """A trainer, and the case that it is ready for.

    Args:
        name: of the trainer.
        shape: of target and draft.
        target: folder of the target.
        device: where it trains; seconds are of CPU there, on an accelerator of the clock.
    """

    def __init__(self, name: str, shape: Shape, target: Path, device: torch.device) -> None:
        self._name, self._shape, self._target, self._device = name, shape, target, device
        self._on_gpu = device.type == "cuda"
        self._driven: Driven | None = None
        self._documents: list[Document] = []

    def _clock(self) -> float:
        if self._on_gpu:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def _ready(self) -> Driven:
        if self._driven is None:
            message = "make comes first"
            raise RuntimeError(message)
        return self._driven

    def drop(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give the memory of the last case back; ``drop`` names nothing."""
        self._driven, self._documents = None, []
        gc.collect()
        if self._on_gpu:
            torch.cuda.empty_cache()
        return {"dropped": order["drop"]}

    def make(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make the trainer, for a case and documents; ``warm`` steps, which compile, are run before any clock.

        Returns:
            seconds of those steps, and the first loss.
        """
        self.drop({"drop": True})
        case = Case.read(order["case"])
        ids = torch.arange(self._shape.draft_vocabulary)
        if order.get("documents"):
            self._documents, ids = read_documents(Path(order["documents"]))
        else:
            self._documents = random_documents(case, self._shape)
        first = Path(order["first"]) if order.get("first") else None
        driven = TRAINERS[self._name](Given(self._shape, case, self._target, self._device, ids, first))
        self._driven = driven
        found: dict[str, Any] = {}
        began = time.perf_counter()
        for number in range(order["warm"]):
            loss = driven.step(driven.prepare(self._documents))
            if number == 0:
                found["first_loss"] = round(loss, 4)
        self._clock()
        found["warm_seconds"] = round(time.perf_counter() - began, 1)
        if self._on_gpu:
            # Others run on this device before it is this one's turn.
            torch.cuda.empty_cache()
        return found

    def measure(self, order: dict[str, Any]) -> dict[str, Any]:
        """Steps over all documents for so many seconds.

        Returns:
            tokens trained on per second (prompts count) of the median step, how many steps, and the most memory in GiB
            that one had beyond what the trainer keeps between steps.
        """
        driven = self._ready()
        batch = driven.prepare(self._documents)
        gc.collect()
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
            rest = torch.cuda.memory_allocated() / 2**30
        else:
            # What the allocator keeps for later is no part of what the trainer uses.
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            rest = _memory("VmRSS")
        taken: list[float] = []
        while sum(taken) < order["seconds"] or len(taken) < order["least"]:
            began = self._clock()
            driven.step(batch)
            taken.append(self._clock() - began)
        peak = torch.cuda.max_memory_allocated() / 2**30 if self._on_gpu else _memory("VmHWM")
        if self._on_gpu:
            torch.cuda.empty_cache()
        tokens = sum(one.rows for one in self._documents)
        speed = tokens / sorted(taken)[len(taken) // 2]
        return {"tokens_per_second": round(speed, 1), "steps": len(taken), "extra_gib": round(peak - rest, 3)}

    def profile(self, order: dict[str, Any]) -> dict[str, Any]:
        """One step under torch's profiler.

        Returns:
            the operations with the most time of their own on the device, and the share of it, the most first.
        """
        driven = self._ready()
        batch = driven.prepare(self._documents)
        kinds = torch.profiler.ProfilerActivity
        with torch.profiler.profile(activities=[kinds.CPU, *([kinds.CUDA] if self._on_gpu else [])]) as profiler:
            driven.step(batch)
            self._clock()
        kind = "self_device_time_total" if self._on_gpu else "self_cpu_time_total"
        spent = {one.key: float(getattr(one, kind)) for one in profiler.key_averages()}
        total = sum(spent.values()) or 1.0
        most = sorted(spent, key=lambda name: -spent[name])[: order["profile"]]
        return {"profile": {name[:80]: round(spent[name] / total, 3) for name in most}}

    def learn(self, order: dict[str, Any]) -> dict[str, Any]:
        """Train on batches of documents, by their numbers, and write the draft's weights.

        Returns:
            seconds of preparing and training, and the tokens of those batches, prompts counted.
        """
        driven = self._ready()
        began = self._clock()
        tokens = 0
        for numbers in order["learn"]:
            batch = [self._documents[number] for number in numbers]
            driven.step(driven.prepare(batch))
            tokens += sum(one.rows for one in batch)
        seconds = self._clock() - began
        kept = {
            name: each.detach().float().cpu().contiguous()
            for name, each in driven.weights().items()
            if not any(part in name for part in _LEFT_OUT)
        }
        save_file(kept, order["weights"])
        return {"seconds": seconds, "tokens": tokens}


def main() -> None:
    """Do what each line of the input says, and answer each with one JSON object in a line that begins with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trainer", choices=TRAINERS)
    parser.add_argument("--shape", type=json.loads, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Packages that a peer imports must not be found beside this file, where benchmarks have such names too.
    here = Path(__file__).parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    bench = Bench(options.trainer, Shape(**options.shape), options.target, torch.device(options.device))
    does = {
        "case": bench.make,
        "seconds": bench.measure,
        "profile": bench.profile,
        "learn": bench.learn,
        "drop": bench.drop,
    }
    for line in sys.stdin:
        order = json.loads(line)
        try:
            found = next(do(order) for key, do in does.items() if key in order)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is this trainer's result)
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"[:400]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
