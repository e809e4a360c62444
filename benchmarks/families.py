"""Draft families side by side: EAGLE3 and DFlash, trained on the same requests of the demonstration's model.

The target answers prompts of the demonstration greedily, in transformers and fp32, with the outputs of the layers that
feed each draft. Every arm draws the same requests in the same order, with a learning rate that suits it. Between steps,
outside its clock, its accept length on held-out requests is simulated: the verify cycles of greedy serving. Tokens are
those that the target generated and an arm was trained on, each time they were; seconds are of CPU, on one thread.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from aurora_core.cli.paths import models_folder
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.config.parts import DraftShape
from aurora_core.datasets.conversations import read_prompts
from aurora_core.evaluation.accept import generated_counts, simulate
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_demo import smollm2
from aurora_demo.config import load
from bench import arguments, report
from transformers import AutoModelForCausalLM, AutoTokenizer

HELD, MICRO_BATCH, VOCABULARY = 12, 4, 8192
Answer = tuple[torch.Tensor, int, list[torch.Tensor]]
"""Tokens of prompt and answer, how many are the prompt, and every layer's output at each row, [T - 1, width]."""


@dataclass(frozen=True)
class Arm:
    """A draft and how it is trained."""

    draft: DraftConfig
    lr: float


def _dflash(block_size: int, depth: int) -> DraftConfig:
    return DraftConfig(
        algorithm="DFLASH",
        num_steps=block_size - 1,
        num_draft_tokens=block_size,
        shape=DraftShape(num_hidden_layers=depth),
    )


ARMS = {
    "EAGLE3, 3 steps": Arm(DraftConfig(draft_vocab_size=VOCABULARY), 1e-3),
    "EAGLE3, 7 steps": Arm(DraftConfig(draft_vocab_size=VOCABULARY, num_steps=7, num_draft_tokens=8), 1e-3),
    "DFlash, 3 proposals, 2 layers": Arm(_dflash(4, 2), 1e-3),
    "DFlash, 7 proposals, 5 layers": Arm(_dflash(8, 5), 1e-3),
}


@torch.no_grad()
def answered(target: Target, prompts: Sequence[str], tokens: int) -> list[Answer]:
    """What the target answers to each prompt, but for answers of fewer than three tokens."""
    model = AutoModelForCausalLM.from_pretrained(target.path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(target.path)
    found = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        every = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)[0]
        if every.numel() < ids.numel() + 3:
            continue
        states = model(every[None, :-1], output_hidden_states=True).hidden_states
        # The last of them is after the final norm.
        found.append((every, ids.numel(), [one[0].to(torch.bfloat16) for one in states[1:]]))
    return found


def samples_for(answers: Sequence[Answer], layers: Sequence[int]) -> list[Sample]:
    """What an engine with a draft that these layers feed would have captured."""
    return [
        Sample(str(i), tokens, prompt, torch.cat([states[layer] for layer in layers], -1), states[-1], 0, "")
        for i, (tokens, prompt, states) in enumerate(answers)
    ]


def batches(samples: Sequence[Sample], generator: torch.Generator) -> Iterator[list[Sample]]:
    """The samples in a new random order each time."""
    while True:
        order = torch.randperm(len(samples), generator=generator).tolist()
        for start in range(0, len(order) - MICRO_BATCH + 1, MICRO_BATCH):
            yield [samples[i] for i in order[start : start + MICRO_BATCH]]


@dataclass(frozen=True)
class Point:
    """How far an arm was at an evaluation."""

    tokens: int
    seconds: float
    accept_length: float


def trained(trainer: Trainer, arm: Arm, train: Sequence[Sample], held: Sequence[Sample], every: int) -> Iterator[Point]:
    """Train for good; a point before it begins and after each ``every`` optimizer steps."""
    drawn, seconds = batches(train, torch.Generator().manual_seed(1)), 0.0
    while True:
        length = simulate(trainer.draft, trainer.teacher, held, steps=arm.draft.num_steps).length
        yield Point(trainer.tokens, round(seconds, 1), round(length, 3))
        began = time.process_time()
        for batch in islice(drawn, every):
            trainer.train_step([batch])
        seconds += time.process_time() - began


def trainer_of(arm: Arm, target: Target) -> Trainer:
    """A new draft of the arm, and its trainer."""
    config = TrainingConfig(
        lr=arm.lr, warmup_steps=10, max_grad_norm=1.0, ttt_length=arm.draft.num_steps, precision="fp32"
    )
    return Trainer.of(config, first_draft(arm.draft, target, 0), target, torch.device("cpu"))


def measured(name: str, target: Target, answers: Sequence[Answer], seconds: float, every: int) -> list[Point]:
    """An arm's points until its seconds are over."""
    arm, trainer = ARMS[name], trainer_of(ARMS[name], target)
    samples = samples_for(answers, trainer.draft.config.aux_layers)
    train, held = samples[HELD:], samples[:HELD]
    trainer.set_vocabulary(vocabulary.choose(generated_counts(train, target.vocab_size), VOCABULARY))
    points = []
    for point in trained(trainer, arm, train, held, every):
        points.append(point)
        print(name, point, flush=True)
        if point.seconds >= seconds:
            return points
    raise AssertionError


def best_within(points: Sequence[Point], *, tokens: float, seconds: float) -> float:
    """The accept length of the last point within both limits."""
    return [one for one in points if one.tokens <= tokens and one.seconds <= seconds][-1].accept_length


def main() -> None:
    """Train every arm; prints a table and, last, a line of JSON."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=120, help="of CPU that each arm trains")
    parser.add_argument("--every", type=int, default=20, help="optimizer steps between two evaluations")
    parser.add_argument("--prompts", type=int, default=72, help="to answer; twelve are held out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load(options.config)
    target = smollm2.target(config.target, models_folder())
    tokenizer = AutoTokenizer.from_pretrained(target.path)
    prompts = read_prompts(config.traffic.prompts, tokenizer)[: options.prompts]
    answers = answered(target, prompts, config.traffic.max_new_tokens)
    print(f"{len(answers)} answers, {HELD} of them held out", flush=True)
    found = {name: measured(name, target, answers, options.seconds, options.every) for name in ARMS}
    tokens = min(points[-1].tokens for points in found.values())
    row = "{:32} {:>16} {:>22} {:>22}".format
    print(row("draft", "tokens/s of CPU", f"at {tokens} tokens", f"at {options.seconds:.0f} s"))
    figures = {}
    for name, points in found.items():
        last = points[-1]
        equal = best_within(points, tokens=tokens, seconds=last.seconds)
        timed = best_within(points, tokens=last.tokens, seconds=options.seconds)
        rate = last.tokens / last.seconds
        print(row(name, f"{rate:.0f}", f"{equal:.2f}", f"{timed:.2f}"))
        figures[name] = {"tokens_per_second": round(rate), "at_equal_tokens": equal, "at_equal_seconds": timed}
    report("families", equal_tokens=tokens, seconds=options.seconds, **figures)


if __name__ == "__main__":
    main()
