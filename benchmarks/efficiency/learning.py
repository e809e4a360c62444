"""One run: a variant with a seed, from its start to its last token, measured on held-out prompts on the way."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from aurora_core.config import TrainingConfig
from aurora_core.evaluation.accept import Cycle, matches, walk
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample
from torch import Tensor

from efficiency.data import Kind, Recorded, on, recorded, with_prompt_rows
from efficiency.drawing import Order
from efficiency.trainer import Job, VariantTrainer
from efficiency.variants import Phase, Variant

STEPS = {"cpu": (3,), "cuda": (3, 7)}
"""Draft steps of the simulated engine: what is decided on, and a longer chain where there is time for it."""
_HELD: dict[str, tuple[Kind, ...]] = {"cpu": ("greedy",), "cuda": ("greedy", "sampled")}
"""Held-out answers that are measured: those that are decided on, and sampled ones where there is time for it."""
_TOGETHER = 64
_MOST_SECONDS = 2.5
"""Of the seconds that all are given, until a faster variant is no longer trained."""
_CLOSE = 0.05
"""Share of the seconds within which a draft is not measured twice."""

Counts = dict[str, list[tuple[int, int]]]
"""By what was measured, tokens and cycles of each held-out request."""


class Setup:
    """Data and target on a device, for any number of runs."""

    def __init__(self, target: Target, folder: Path, device: torch.device) -> None:
        self.target, self.device, self.steps = target, device, STEPS[device.type]
        self.clock = time.process_time if device.type == "cpu" else time.perf_counter
        self._all = recorded(folder, device)
        self.domains = list(dict.fromkeys(one.domain for one in self._all))
        self._held: dict[str, list[tuple[list[int], Batch]]] = {}
        for kind in _HELD[device.type]:
            for domain in self.domains:
                some = [r.sample for r in self._all if r.heldout and r.domain == domain and r.kind == kind]
                if not some:
                    continue
                self._held[f"{domain} {kind}"] = self._batches(some)

    def _batches(self, samples: Sequence[Sample]) -> list[tuple[list[int], Batch]]:
        order = sorted(range(len(samples)), key=lambda at: samples[at].tokens.shape[0])
        parts = [order[at : at + _TOGETHER] for at in range(0, len(order), _TOGETHER)]
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        return [(part, Batch.of([samples[at] for at in part], dtype).to(self.device)) for part in parts]

    def training(self, variant: Variant, domains: Sequence[str]) -> list[Recorded]:
        """Samples that the variant trains on while traffic is of some domains."""
        kinds = ("greedy", "sampled") if variant.answers == "both" else (variant.answers,)
        return [
            one for one in self._all if not one.heldout and one.kind in kinds and (not domains or one.domain in domains)
        ]

    def vocabulary(self, samples: Sequence[Recorded], size: int) -> Tensor:
        """Target ids of a draft vocabulary for these samples."""
        counts = torch.zeros(self.target.vocab_size, dtype=torch.int64)
        for one in samples:
            generated = one.sample.tokens[one.sample.prompt_tokens :]
            counts.index_add_(0, generated, torch.ones_like(generated))
        return vocabulary.choose(counts, size)

    @torch.no_grad()
    def measure(self, trainer: VariantTrainer) -> dict[str, Counts]:
        """Verify cycles of all held-out requests, by draft steps and by domain and kind of answer."""
        found: dict[str, Counts] = {str(steps): {} for steps in self.steps}
        with trainer.measured_weights(), trainer.teacher.autocast():
            for name, parts in self._held.items():
                by_request: dict[int, list[list[Cycle]]] = {}
                for positions, batch in parts:
                    flags = matches(trainer.draft, trainer.teacher, batch, max(self.steps))[..., 0].cpu().tolist()
                    shape = zip(batch.prompt.tolist(), batch.rows.tolist(), strict=True)
                    for at, correct, (prompt, rows) in zip(positions, flags, shape, strict=True):
                        by_request[at] = [walk(correct[:steps], prompt - 1, rows) for steps in self.steps]
                for number, steps in enumerate(self.steps):
                    cycles = [by_request[at][number] for at in sorted(by_request)]
                    found[str(steps)][name] = [(sum(c.accepted + 1 for c in one), len(one)) for one in cycles]
        return found


class Run:
    """One run, from its first draw on."""

    def __init__(self, job: Job, setup: Setup) -> None:
        self._job, self._setup, self._variant = job, setup, job.variant
        self.first = self._samples(self._variant.phases[0])
        roots = sum(one.sample.roots for one in self.first) / len(self.first)
        self._steps = max(1, round(job.tokens * self._variant.length / (job.batch * roots)))
        self.trainer = self._new_trainer()
        self.tokens, self.seconds = 0, 0.0
        self.points: list[dict[str, Any]] = []
        self._order, self._drawable = (
            Order(self._variant.policy, 1000 * job.seed, self._variant.again),
            list[Recorded](),
        )
        self._ready: dict[str, Sample] = {}

    def _samples(self, phase: Phase) -> list[Recorded]:
        return self._setup.training(self._variant, phase.domains)

    def _new_trainer(self) -> VariantTrainer:
        settings = self._job.settings(self._steps)
        if self._setup.device.type == "cpu":
            settings["precision"] = "fp32"
        trainer = VariantTrainer(self._job, TrainingConfig(**settings), self._setup.target, self._setup.device)
        trainer.set_vocabulary(self._setup.vocabulary(self.first, self._job.vocabulary))
        return trainer

    def _point(self, why: str) -> None:
        counts = self._setup.measure(self.trainer)
        self.points.append({"at": why, "tokens": self.tokens, "seconds": round(self.seconds, 3),
                            "steps": self.trainer.step, "counts": counts})  # fmt: skip

    def _enter(self, phase: Phase) -> None:
        """What a phase begins with."""
        trainer = self.trainer
        if phase.on_entry == "new draft":
            self.first = self._samples(phase)
            self.trainer = self._new_trainer()
        elif phase.on_entry in {"restart schedule", "warm up again"}:
            trainer.step = 0
        elif phase.on_entry == "reset moments":
            trainer.optimizer.state.clear()
        if phase.on_entry in {"choose vocabulary", "restart schedule", "warm up again", "reset moments"}:
            trainer.set_vocabulary(self._setup.vocabulary(self._samples(phase), self._job.vocabulary))

    def _micro_batches(self, number: int) -> Iterator[list[Sample]]:
        """Of a phase, without an end."""
        phase, variant = self._variant.phases[number], self._variant
        own = self._samples(phase)
        old = [one for before in variant.phases[:number] for one in self._samples(before)] if phase.replay else []
        self._drawable += own
        self._order.begin(len(own))
        past = Order("epochs", 1000 * self._job.seed + number)
        past.begin(len(old))
        size = self.trainer.config.micro_batch
        replayed = round(size * phase.replay) if old else 0
        while True:
            drawn = [self._drawable[at] for at in self._order.draw(size - replayed)]
            drawn += [old[at] for at in past.draw(replayed)]
            for one in drawn:
                name = one.sample.request
                if name not in self._ready:
                    sample = with_prompt_rows(one.sample) if variant.prompt_rows else one.sample
                    self._ready[name] = on(sample, self._setup.device)
            self.tokens += sum(one.sample.roots for one in drawn)
            yield [self._ready[one.sample.request] for one in drawn]

    def batches(self) -> Iterator[list[Sample]]:
        """Micro-batches of the first phase, without an end."""
        return self._micro_batches(0)

    def _train(self, number: int, goal: float, *, last: bool) -> None:
        """A phase, until so many tokens of the run; a single one until its seconds are over too."""
        given, clock = self._job.seconds, self._setup.clock
        at_tokens, at_seconds = True, len(self._variant.phases) == 1
        for batch in self._micro_batches(number):
            began = clock()
            self.trainer.train_step([batch])
            self.trainer.average()
            self.seconds += clock() - began
            if at_tokens and self.tokens >= goal:
                at_tokens = False
                self._point("tokens" if last else f"phase {number}")
                if at_seconds and abs(self.seconds - given) <= _CLOSE * given:
                    at_seconds = False
                    self.points.append({**self.points[-1], "at": "seconds"})
            if at_seconds and self.seconds >= given:
                at_seconds = False
                self._point("seconds")
            if not at_tokens and (not at_seconds or self.seconds > _MOST_SECONDS * given):
                return

    def to_the_end(self) -> dict[str, Any]:
        """Train; returns the run as JSON has it."""
        phases, until = self._variant.phases, 0.0
        for number, phase in enumerate(phases):
            if number:
                self._enter(phase)
            until += phase.share * self._job.tokens * self._variant.length
            self._train(number, until, last=number == len(phases) - 1)
        return {"variant": self._variant.name, "seed": self._job.seed, "tokens": self._job.tokens,
                "seconds": self._job.seconds, "points": self.points}  # fmt: skip
