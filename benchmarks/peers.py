"""The trainer beside its peers: SpecForge, speculators and TorchSpec on the same samples, shapes and machine.

Each peer comes from its own release or commit, into a folder of its own below the cache folder, or from a checkout
(``--source NAME=FOLDER``), over this environment's packages: all run with the same torch. Each trainer has a process;
they are measured one after the other, in turned order in every second round, so that what the machine does meanwhile
falls on all of them. One line of JSON for each measurement, appended to ``--out`` at once, and tables at the end.

Speed is of random samples, with each one's own optimizer, of one thread's CPU seconds or of a GPU's clock. A batch is
ready before a step that is measured, but ours packs its rows and moves them to the device in it. ``--learn`` trains on
the demonstration's requests instead and reports accept length, first with each trainer's own settings, then with the
same for all: unroll, optimizer, learning rate, weights of steps, and the draft to start from.

Without an accelerator SpecForge's loss, a Triton kernel, is replaced by its own reference, speculators' by its eager
one, and all attend by SDPA. On a GPU SpecForge and speculators use flex attention; TorchSpec, whose default is SDPA,
is measured with both.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pieces
import torch
from bench import ROOT, heading
from peer_cases import (
    CPU_CASES,
    GPU_CASES,
    SMALL,
    TINY,
    TINY_CASES,
    WIDE,
    Case,
    Settings,
    Shape,
    as_json,
    write_target,
)
from peer_processes import SOURCES, Peer, project, source, variables
from peer_tables import Curve, lengths, speeds

HERE = Path(__file__).parent
SHARED = Settings(lr=1e-3, warmup=10, clip=1.0, decay=0.8)
"""What all train with in the second part of ``--learn``, unrolled by three steps, from the same first draft."""
Note = Callable[..., None]


@contextmanager
def started(
    trainers: Sequence[str], shape: Shape, target: Path, options: argparse.Namespace, logs: Path
) -> Iterator[dict[str, Peer]]:
    """A process for each trainer, ended at the end."""
    surroundings = {name: variables(name, dict(options.source)) for name in dict.fromkeys(map(project, trainers))}
    peers: dict[str, Peer] = {}
    try:
        for trainer in trainers:
            eager = {"TORCHDYNAMO_DISABLE": "1"} if options.eager else {}
            command = [
                sys.executable, str(HERE / "peer_step.py"), trainer, "--shape", json.dumps(asdict(shape)),
                "--target", str(target), "--device", options.device,
            ]  # fmt: skip
            peers[trainer] = Peer.start(command, surroundings[project(trainer)] | eager, logs / f"{trainer}.log")
        yield peers
    finally:
        for peer in peers.values():
            peer.stop()


def side_by_side(peers: Mapping[str, Peer], case: Case, options: argparse.Namespace, until: float, note: Note) -> None:
    """A case with some trainers: all get ready, on a GPU at once, and then take turns, and drop what they hold."""
    on_gpu = options.device == "cuda"
    warm: dict[str, dict[str, Any]] = {}
    make = {"case": as_json(case), "warm": 2 if on_gpu else 1}
    if on_gpu:
        for peer in peers.values():
            peer.order(**make)
    for trainer, peer in peers.items():
        if not on_gpu:
            peer.order(**make)
        warm[trainer] = peer.answer(until)
        if "error" in warm[trainer]:
            note(trainer=trainer, **warm[trainer])
    ready = [trainer for trainer, found in warm.items() if "error" not in found]
    for turn in range(options.rounds):
        for trainer in ready if turn % 2 == 0 else reversed(ready):
            peers[trainer].order(seconds=options.seconds, least=3 if on_gpu else 1)
            note(trainer=trainer, **warm[trainer], **peers[trainer].answer(until))
    for trainer in ready if options.profile else ():
        peers[trainer].order(profile=options.profile)
        note(trainer=trainer, **peers[trainer].answer(until))
    for peer in peers.values():
        peer.order(drop=True)
        peer.answer(until)


def timed(peers: Mapping[str, Peer], cases: Mapping[str, Case], options: argparse.Namespace, note: Note) -> None:
    """Every case with every trainer, side by side, but for those that need a GPU's memory for themselves."""
    until = time.monotonic() + options.budget
    for name, case in cases.items():
        alone = options.device == "cuda" and sum(case.lengths) > options.together
        for group in [{trainer: peer} for trainer, peer in peers.items()] if alone else [peers]:
            side_by_side(group, case, options, until, partial(note, case=name))
            if time.monotonic() >= until:
                return


def learned(options: argparse.Namespace, trainers: Sequence[str], folder: Path, note: Note) -> dict[str, Any]:
    """Train all on the demonstration's requests; the curve of each trainer, with own and with equal settings."""
    # Only this part needs the demonstration.
    from aurora_core.cli.paths import models_folder  # noqa: PLC0415
    from aurora_core.datasets.conversations import read_prompts  # noqa: PLC0415
    from aurora_demo import smollm2  # noqa: PLC0415
    from aurora_demo.config import load  # noqa: PLC0415
    from peer_learning import Requests, shape_of  # noqa: PLC0415
    from transformers import AutoTokenizer  # noqa: PLC0415

    config = load(ROOT / "examples" / "smollm2.yaml")
    target = smollm2.target(config.target, models_folder())
    prompts = read_prompts(config.traffic.prompts, AutoTokenizer.from_pretrained(target.path))[: options.prompts]
    requests = Requests(target, prompts, options.answer, SMALL.draft_vocabulary, folder)
    batches = requests.batches(options.learn, options.batch)
    parts = [batches[start : start + options.every] for start in range(0, len(batches), options.every)]
    until = time.monotonic() + options.budget
    found: dict[str, dict[str, Curve]] = {}
    cases = {
        "own settings": Case((), 0.0, 0, "fp32", None, options.learn),
        "equal settings": Case((), 0.0, 3, "fp32", SHARED, options.learn),
    }
    with started(trainers, shape_of(target, SMALL.draft_vocabulary), target.path, options, folder) as peers:
        for name, case in cases.items():
            curves = found[name] = {}
            for trainer, peer in peers.items():
                first = str(requests.first) if case.settings else None
                peer.order(case=as_json(case), warm=0, documents=str(requests.documents), first=first)
                made = peer.answer(until)
                curve: list[tuple[int, float, float]] = []
                for part in [[], *parts] if "error" not in made else []:
                    weights = folder / f"{trainer}.safetensors"
                    peer.order(learn=part, weights=str(weights))
                    made = peer.answer(until)
                    if "error" in made:
                        break
                    tokens, seconds, _ = curve[-1] if curve else (0, 0.0, 0.0)
                    spent = seconds + made["seconds"] if part else 0.0
                    curve.append((tokens + made["tokens"], spent, requests.accept_length(weights)))
                if "error" not in made:
                    curves[trainer] = curve
                note(case=name, trainer=trainer, curve=[(n, round(s, 1), round(x, 3)) for n, s, x in curve], **made)
    return found


def main() -> None:
    """Measure all trainers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tiny", action="store_true", help="shapes that try the script itself")
    parser.add_argument("--source", type=source, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--trainers", nargs="*", help="by default all that suit the device")
    parser.add_argument("--cases", type=int, nargs="*", help="numbers of cases, from 0")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="of steps, for each trainer in each round")
    parser.add_argument("--budget", type=float, default=7200.0, help="seconds, then the table is of what there is")
    parser.add_argument("--together", type=int, default=4096, help="tokens up to which all share a GPU")
    parser.add_argument("--eager", action="store_true", help="nobody compiles")
    parser.add_argument("--profile", type=int, default=0, help="operations of a profile that are reported")
    parser.add_argument("--learn", type=int, default=0, help="optimizer steps of training for accept length")
    parser.add_argument("--batch", type=int, default=4, help="requests of such a step")
    parser.add_argument("--every", type=int, default=10, help="such steps between two evaluations")
    parser.add_argument("--prompts", type=int, default=48, help="that the target answers; twelve are held out")
    parser.add_argument("--answer", type=int, default=64, help="tokens of an answer, at most")
    parser.add_argument("--out", type=Path, help="file to which each line is appended")
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    shape = TINY if options.tiny else WIDE if on_gpu else SMALL
    cases = TINY_CASES if options.tiny else GPU_CASES if on_gpu else CPU_CASES
    cases = {name: case for number, (name, case) in enumerate(cases.items()) if number in (options.cases or range(99))}
    default = ["ours", "specforge", "specforge-compact", "torchspec", "speculators"]
    trainers = options.trainers or [*default, *(["torchspec-flex", "speculators-eager"] if on_gpu else [])]
    rows: list[dict[str, Any]] = []

    def note(**row: object) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)
        pieces.append(options.out, row)

    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    print(json.dumps({**heading("peers"), "device": device, "peers": SOURCES}), flush=True)
    memory = Path("/dev/shm")  # noqa: S108 (not for secrets)
    with tempfile.TemporaryDirectory(prefix="aurora-peers-", dir=memory if memory.is_dir() else None) as text:
        folder = Path(text)
        if options.learn:
            found = learned(options, trainers, folder, note)
            print("\n\n".join(f"{name}\n{lengths(curves)}" for name, curves in found.items() if curves))
            return
        write_target(folder / "target", shape)
        with started(trainers, shape, folder / "target", options, folder) as peers:
            timed(peers, cases, options, note)
    print(speeds([row for row in rows if "profile" not in row]))


if __name__ == "__main__":
    main()
