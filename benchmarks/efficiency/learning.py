"""One run: a variant with a seed, from its start to its last token, measured on held-out prompts on the way."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.drafts import borrow
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.evaluation.accept import Cycle, matches, walk
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from torch import Tensor

from efficiency import losses
from efficiency.data import Recorded, on, recorded, with_prompt_rows
from efficiency.drawing import Order
from efficiency.variants import BASELINE, Phase, Variant

STEPS = (3, 7)
"""Draft steps of the simulated engine: what is decided on, and a longer chain."""
_TOGETHER = 64
_MOST_SECONDS = 2.5
"""Of the seconds that all are given, until a faster variant is no longer trained."""

Counts = dict[str, list[tuple[int, int]]]
"""By what was measured, tokens and cycles of each held-out request."""


@dataclass(frozen=True)
class Job:
    """A run to do.

    Attributes:
        variant, seed: which.
        tokens: generated tokens of the samples that are drawn, each time that they are.
        seconds: of training, at which the draft is measured too.
    """

    variant: Variant
    seed: int
    tokens: int
    seconds: float


class _Both:
    """Two optimizers as one: Muon for a layer's matrices, AdamW for the rest."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self._parts = parts
        self.state: dict[Any, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both."""
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self, *, set_to_none: bool) -> None:
        """Of both."""
        for part in self._parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Of both."""
        for part in self._parts:
            part.step()


class VariantTrainer(Trainer):
    """The product's trainer with what a variant changes."""

    def __init__(self, variant: Variant, config: TrainingConfig, target: Target, device: torch.device) -> None:
        draft = first_draft(DraftConfig(draft_vocab_size=variant.draft_vocabulary), target, config.seed)
        assert isinstance(draft, Eagle3Draft)  # noqa: S101 (the only family that is tried)
        if variant.start != "borrowed":
            head = draft.lm_head.weight.detach().clone()
            borrow.at_random(draft, config.seed)
            if variant.start == "random layer":
                with torch.no_grad():
                    draft.lm_head.weight.copy_(head)
        draft.lm_head.weight.requires_grad_(not variant.frozen)
        super().__init__(config, draft, target, device)
        if variant.rule is not None:
            self._micro_batch = losses.micro_batch(variant.rule)
        if variant.optimizer == "Muon":
            self.optimizer = self._muon()  # type: ignore[assignment]
        self._decay = variant.ema
        self._average = [p.detach().clone() for p in self.draft.parameters()] if variant.ema else []

    def _muon(self) -> _Both:
        matrices = [p for name, p in self.draft.named_parameters() if p.ndim == 2 and "lm_head" not in name]
        own = {id(p) for p in matrices}
        rest = [p for p in self.draft.parameters() if id(p) not in own]
        return _Both(
            torch.optim.Muon(matrices, lr=self.config.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=self.config.lr, betas=self.config.betas, weight_decay=0.0, fused=True),
        )

    def set_vocabulary(self, ids: Tensor) -> int:
        """As the product; an average of the head begins again, for its rows stand for other tokens now."""
        new = super().set_vocabulary(ids)
        for kept, parameter in zip(self._average, self.draft.parameters() if self._average else (), strict=True):
            if parameter is self.draft.head:
                kept.copy_(parameter)
        return new

    def average(self) -> None:
        """Take the present weights into their average, which follows faster at first."""
        if self._decay:
            decay = min(self._decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self._average, [p.detach() for p in self.draft.parameters()], 1 - decay)

    @contextmanager
    def measured_weights(self) -> Iterator[None]:
        """The draft with the weights that are measured: their average where there is one."""
        own = [p.detach().clone() for p in self.draft.parameters()] if self._average else []
        self._set(self._average)
        yield
        self._set(own)

    def _set(self, weights: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for p, w in zip(self.draft.parameters() if weights else (), weights, strict=True):
                p.copy_(w)


class Setup:
    """Data and target on a device, for any number of runs."""

    def __init__(self, target: Target, folder: Path, device: torch.device) -> None:
        self.target, self.device = target, device
        self._all = recorded(folder, device)
        self.domains = list(dict.fromkeys(one.domain for one in self._all))
        self._held: dict[str, list[tuple[list[int], Batch]]] = {}
        for kind in ("greedy", "sampled"):
            for domain in self.domains:
                some = [r.sample for r in self._all if r.heldout and r.domain == domain and r.kind == kind]
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
        found: dict[str, Counts] = {str(steps): {} for steps in STEPS}
        with trainer.measured_weights(), trainer.teacher.autocast():
            for name, parts in self._held.items():
                by_request: dict[int, list[list[Cycle]]] = {}
                for places, batch in parts:
                    flags = matches(trainer.draft, trainer.teacher, batch, max(STEPS))[..., 0].cpu().tolist()
                    shape = zip(batch.prompt.tolist(), batch.rows.tolist(), strict=True)
                    for at, correct, (prompt, rows) in zip(places, flags, shape, strict=True):
                        by_request[at] = [walk(correct[:steps], prompt - 1, rows) for steps in STEPS]
                for number, steps in enumerate(STEPS):
                    cycles = [by_request[at][number] for at in sorted(by_request)]
                    found[str(steps)][name] = [(sum(c.accepted + 1 for c in one), len(one)) for one in cycles]
        return found


class Run:
    """One run, from its first draw on."""

    def __init__(self, job: Job, setup: Setup) -> None:
        self._job, self._setup, self._variant = job, setup, job.variant
        self.first = self._samples(self._variant.phases[0])
        roots = sum(one.sample.roots for one in self.first) / len(self.first)
        micro_batch: Any = {**BASELINE, **self._variant.training}["micro_batch"]
        self._steps = max(1, round(job.tokens * self._variant.length / (micro_batch * roots)))
        self.trainer = self._new_trainer()
        self.tokens, self.seconds = 0, 0.0
        self.points: list[dict[str, Any]] = []
        self._order, self._drawable = Order(self._variant.policy, 1000 * job.seed), list[Recorded]()
        self._ready: dict[str, Sample] = {}

    def _samples(self, phase: Phase) -> list[Recorded]:
        return self._setup.training(self._variant, phase.domains)

    def _config(self) -> TrainingConfig:
        said: dict[str, Any] = {**BASELINE, **self._variant.training, "seed": self._job.seed}
        if self._setup.device.type == "cpu":
            said["precision"] = "fp32"
        if said.get("lr_decay_style") == "cosine":
            parts = [p.share for p in self._variant.phases if p.on_entry == "restart schedule"]
            said["lr_total_steps"] = max(1, round(self._steps * (parts[0] if parts else 1)))
        return TrainingConfig(**said)

    def _new_trainer(self) -> VariantTrainer:
        trainer = VariantTrainer(self._variant, self._config(), self._setup.target, self._setup.device)
        trainer.set_vocabulary(self._setup.vocabulary(self.first, self._variant.draft_vocabulary))
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
            trainer.set_vocabulary(self._setup.vocabulary(self._samples(phase), self._variant.draft_vocabulary))

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

    def _train(self, number: int, until: float, *, last: bool) -> None:
        """A phase, until so many tokens of the run; the last one until the seconds are over too."""
        job, goal = self._job, until
        half, at_seconds = until / 2 if until == job.tokens else None, len(self._variant.phases) == 1
        done = False
        for batch in self._micro_batches(number):
            began = time.perf_counter()
            self.trainer.train_step([batch])
            self.trainer.average()
            self.seconds += time.perf_counter() - began
            if half and self.tokens >= half:
                half = None
                self._point("half")
            if at_seconds and self.seconds >= job.seconds:
                at_seconds = False
                self._point("seconds")
            if not done and self.tokens >= goal:
                done = True
                self._point("tokens" if last else f"phase {number}")
            if done and (not last or not at_seconds or self.seconds > _MOST_SECONDS * job.seconds):
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
