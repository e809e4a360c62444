"""The product's trainer with what a variant changes, and what a run is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from aurora_core.arithmetic import training_precision
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.drafts import borrow
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.drafts.family import Teacher
from aurora_core.models.target import Target
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from torch import Tensor

from efficiency import losses
from efficiency.variants import Baseline, Variant


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
    baseline: Baseline

    @property
    def vocabulary(self) -> int:
        """Tokens of the draft's."""
        return round(self.baseline.vocabulary * self.variant.vocabulary)

    @property
    def batch(self) -> int:
        """Samples of a step."""
        return max(1, round(self.baseline.batch * self.variant.batch))

    def settings(self, steps: int) -> dict[str, Any]:
        """Of the trainer, for a run of so many steps."""
        found: dict[str, Any] = {
            "micro_batch": self.batch, "warmup_steps": round(self.baseline.warmup * self.variant.warmup),
            **self.baseline.training, **self.variant.training, "seed": self.seed,
        }  # fmt: skip
        if found.get("lr_decay_style") == "cosine":
            parts = [p.share for p in self.variant.phases if p.on_entry == "restart schedule"]
            found["lr_total_steps"] = max(1, round(steps * (parts[0] if parts else 1)))
        return found


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

    def __init__(self, job: Job, config: TrainingConfig, target: Target, device: torch.device) -> None:
        variant = job.variant
        draft = first_draft(DraftConfig(draft_vocab_size=job.vocabulary), target, config.seed)
        assert isinstance(draft, Eagle3Draft)  # noqa: S101 (the only family that is tried)
        if variant.start != "borrowed":
            head = draft.lm_head.weight.detach().clone()
            borrow.at_random(draft, config.seed)
            if variant.start == "random layer":
                with torch.no_grad():
                    draft.lm_head.weight.copy_(head)
        draft.lm_head.weight.requires_grad_(not variant.frozen)
        draft.to(device)
        teacher = Teacher.of(target, draft, training_precision(config.precision, device), device)
        super().__init__(config, draft, target, teacher, device)
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
            torch.optim.Muon(matrices, lr=self.peak, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=self.peak, betas=self.config.betas, weight_decay=0.0, fused=True),
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
