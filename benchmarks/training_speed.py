"""How fast an optimizer step is: the packed micro-batch beside the plain one, on the same samples in one process.

The target is the demonstration's model; tokens and hidden states are random, of the lengths and prompt shares that each
case names. Rounds of both alternate. Tokens are those of the samples, prompts included, per second of CPU on one
thread.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from aurora_core.arithmetic import short_name
from aurora_core.cli.paths import models_folder
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_demo import smollm2
from aurora_demo.config import load
from bench import arguments, report


@dataclass(frozen=True)
class Case:
    """Samples of some lengths, with a share of prompt, and unrolled steps."""

    lengths: tuple[int, ...]
    prompt: float
    steps: int


CASES = {
    "8 x 150-300, 40 % prompt, 3 steps": Case((150, 171, 193, 214, 236, 257, 279, 300), 0.4, 3),
    "2 x 150-300, 40 % prompt, 7 steps": Case((150, 300), 0.4, 7),
    "2 x 150-300, 80 % prompt, 3 steps": Case((150, 300), 0.8, 3),
    "1 x 2048, 40 % prompt, 3 steps": Case((2048,), 0.4, 3),
}


def samples_of(case: Case, target: Target, ids: torch.Tensor) -> list[Sample]:
    """Random samples whose generated tokens are nearly all in the draft's vocabulary."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for number, length in enumerate(case.lengths):
        tokens = ids[torch.randint(ids.numel(), (length + 1,), generator=generator)]
        states = torch.randn(length, 4 * target.hidden_size, generator=generator).to(torch.bfloat16)
        width = 3 * target.hidden_size
        made.append(Sample(str(number), tokens, int(length * case.prompt), states[:, :width], states[:, width:], 0, ""))
    return made


def seconds(trainer: Trainer, samples: Sequence[Sample]) -> float:
    """CPU seconds of one optimizer step."""
    began = time.process_time()
    trainer.train_step([samples])
    return time.process_time() - began


def main() -> None:
    """Measure every case; one line of JSON each."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    options = parser.parse_args()
    torch.set_num_threads(1)
    target = smollm2.target(load(options.config).target, models_folder())
    draft = partial(first_draft, DraftConfig(draft_vocab_size=8192), target, 0)
    for name, case in CASES.items():
        trainers = {
            how: Trainer.of(
                TrainingConfig(loss=how, ttt_length=case.steps, precision=options.precision),
                draft(),
                target,
                torch.device("cpu"),
            )
            for how in ("reference", "fused")
        }
        samples = samples_of(case, target, trainers["fused"].draft.ids)
        tokens = sum(case.lengths)
        for trainer in trainers.values():
            seconds(trainer, samples)
        rounds = [{how: seconds(trainer, samples) for how, trainer in trainers.items()} for _ in range(options.rounds)]
        speeds = {how: round(tokens / statistics.median(one[how] for one in rounds), 1) for how in trainers}
        report(
            "training_speed",
            case=name,
            precision=short_name(trainers["fused"].dtype),
            tokens_per_cpu_second=speeds,
            packed_over_plain=round(statistics.median(one["reference"] / one["fused"] for one in rounds), 2),
            rounds=[round(one["reference"] / one["fused"], 2) for one in rounds],
        )


if __name__ == "__main__":
    main()
