"""Samples per second of training by one rank and by two, each with one thread, as a ratio; and memory of a rank.

Rounds of one and of two ranks alternate, in processes of their own, on the same random samples; both take the same
optimizer steps. The first step of each is not counted. Memory is that of an EAGLE3 draft with the shapes of
Llama-3.1-8B (width 4096, MLP 14336, draft vocabulary 32000), computed of its shapes.
"""

import multiprocessing
import os
import queue
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from aurora_core.cli.paths import models_folder
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from aurora_core.training import follower
from aurora_core.training.group import gather, join
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_demo import smollm2
from aurora_demo.config import load
from bench import arguments, report
from ports import free_port

LENGTHS = (150, 171, 193, 214, 236, 257, 279, 300)
STEPS = 3
CPU = torch.device("cpu")


def samples_of(target: Target, ids: torch.Tensor) -> list[Sample]:
    """Random samples, 40 % prompt, whose generated tokens the draft knows."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for length in LENGTHS:
        tokens = ids[torch.randint(ids.numel(), (length + 1,), generator=generator)]
        states = torch.randn(length, 4 * target.hidden_size, generator=generator)
        width = 3 * target.hidden_size
        made.append(Sample("", tokens, int(0.4 * length), states[:, :width].clone(), states[:, width:].clone(), 0, ""))
    return made


def rank(environment: dict[str, str], folder: Path, steps: int, found: "multiprocessing.Queue[float]") -> None:
    """One rank; the first puts the seconds of an optimizer step."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    target, config = Target(folder), TrainingConfig(ttt_length=STEPS, micro_batch=len(LENGTHS), precision="fp32")
    if environment["RANK"] != "0":
        follower.Follower(config, target, join(environment)).run()
        return
    draft = first_draft(DraftConfig(draft_vocab_size=8192), target, 0)
    trainer = Trainer.of(config, draft, target, CPU, gather(environment))
    follower.begin(trainer)
    samples = samples_of(target, draft.ids)
    trainer.train_step([samples])
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step([samples])
    found.put((time.perf_counter() - began) / steps)
    trainer.ranks.end(finished=True)


def samples_per_second(ranks: int, folder: Path, steps: int) -> float:
    """Of so many ranks, started for it."""
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[float] = context.Queue()
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    processes = [
        context.Process(target=rank, args=(shared | {"RANK": str(n), "LOCAL_RANK": str(n)}, folder, steps, found))
        for n in range(ranks)
    ]
    for process in processes:
        process.start()
    try:
        while True:
            try:
                return len(LENGTHS) / found.get(timeout=1)
            except queue.Empty:
                if any(process.exitcode for process in processes):
                    raise SystemExit("a rank ended: see its message above") from None
    finally:
        for process in processes:
            process.join()


def memory() -> dict[str, Any]:
    """GiB of fp32 in each rank, of a draft with the shapes of Llama-3.1-8B."""
    shape = Eagle3Config(
        hidden_size=4096,
        target_hidden_size=4096,
        intermediate_size=14336,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=128256,
        draft_vocab_size=32000,
        rms_norm_eps=1e-5,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        aux_layers=(1, 15, 28),
    )
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Eagle3Draft(shape).parameters())
    gib = round(4 * parameters / 2**30, 2)
    return {"parameters": parameters, "weights": gib, "gradients": gib, "moments": round(2 * gib, 2)}


def main() -> None:
    """Measure; one line of JSON."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps of a round")
    options = parser.parse_args()
    folder = smollm2.target(load(options.config).target, models_folder()).path
    rounds = [{n: samples_per_second(n, folder, options.steps) for n in (1, 2)} for _ in range(options.rounds)]
    report(
        "ranks",
        samples_per_second={n: round(statistics.median(one[n] for one in rounds), 2) for n in (1, 2)},
        two_over_one=round(statistics.median(one[2] / one[1] for one in rounds), 2),
        rounds=[round(one[2] / one[1], 2) for one in rounds],
        gib_at_width_4096=memory(),
    )


if __name__ == "__main__":
    main()
