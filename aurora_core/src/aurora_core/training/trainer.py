"""One optimizer step after another: the draft, its optimizer, and all that a restart needs to resume exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from aurora_core.arithmetic import training_precision
from aurora_core.config.training import TrainingConfig
from aurora_core.drafts.family import Draft, StepSums, Teacher
from aurora_core.drafts.registry import family_of
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from aurora_core.training.parallel import ALONE, Ranks
from aurora_core.training.schedule import learning_rate, peak


@dataclass(frozen=True)
class StepResult:
    """What an optimizer step did.

    Attributes:
        loss: mean forward KL a row, over all unrolled steps.
        loss_per_position, accuracy_per_position: the same and the share of right choices, by unrolled step.
        grad_norm: before clipping.
        tokens: rows that were trained on at the first unrolled step.
        lr: the learning rate.
        taken: whether weights changed. With a loss or a gradient that is NaN or infinite they would be lost for good;
            with no row to learn from (``tokens`` is 0) there is nothing to learn, and this was no optimizer step.
    """

    loss: float
    loss_per_position: tuple[float, ...]
    accuracy_per_position: tuple[float, ...]
    grad_norm: float
    tokens: int
    lr: float
    taken: bool


class Trainer:
    """Trains a draft for a target.

    Args:
        config: hyperparameters.
        draft: what to train, on the device.
        target: whose draft it is.
        teacher: of the target, on the device and in the type that the config gives; :meth:`of` reads it.
        device: of weights, optimizer and arithmetic.
        ranks: the others that train the same draft, if any.
    """

    def __init__(
        self,
        config: TrainingConfig,
        draft: Draft,
        target: Target,
        teacher: Teacher,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config = config
        self.ranks = ranks
        self.draft = draft
        self.teacher = teacher
        self.device = device
        self.step = 0
        self.tokens = 0
        self.generator = torch.Generator().manual_seed(config.seed)
        self.dtype = training_precision(config.precision, device)
        self._target = target
        self.target_fingerprint = target.fingerprint
        self.peak = peak(config, target.hidden_size)
        self.optimizer = torch.optim.AdamW(
            draft.parameters(), lr=self.peak, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        of_kind = family_of(draft)
        self.unrolled = of_kind.unrolled(draft, config.ttt_length, config.step_weight_decay)
        self._micro_batch = of_kind.micro_batch(config.loss)

    @classmethod
    def of(
        cls, config: TrainingConfig, draft: Draft, target: Target, device: torch.device, ranks: Ranks = ALONE
    ) -> Self:
        """A trainer of a draft, which moves to the device; what it learns from is read from the target's files."""
        draft = draft.to(device)
        teacher = Teacher.of(target, draft, training_precision(config.precision, device), device)
        return cls(config, draft, target, teacher, device, ranks)

    def set_vocabulary(self, ids: Tensor) -> int:
        """Give the draft another vocabulary of the same size; returns how many tokens are new in it.

        Rows of the head that stay keep their weights and moments; new ones start from the target's head. A draft that
        has no head of its own proposes every token, and nothing is new to it.
        """
        parameter = self.draft.head
        if parameter is None:
            return 0
        old = self.draft.ids
        position = vocabulary.target_to_draft(old, self.draft.config.vocab_size)[ids].to(self.device)
        kept = position >= 0
        if bool(kept.all()):
            return 0
        if self.ranks.rank == 0:
            self.ranks.announce_vocabulary(ids)
        fresh = self._target.head_rows(ids).to(self.device)
        source = position.clamp(min=0)
        with torch.no_grad():
            parameter.copy_(torch.where(kept[:, None], parameter[source], fresh))
        state = self.optimizer.state.get(parameter, {})
        for name in ("exp_avg", "exp_avg_sq"):
            if name in state:
                state[name] = torch.where(kept[:, None], state[name][source], 0.0)
        self.draft.set_vocabulary(ids.to(self.device))
        self.teacher = self.teacher.with_vocabulary(self._target, self.draft)
        return int((~kept).sum())

    def train_step(self, micro_batches: Sequence[Sequence[Sample]]) -> StepResult:
        """One optimizer step over some micro-batches, every row weighing the same; all ranks share them."""
        return self.take_share(
            self.ranks.hand_out(micro_batches), sum(sample.roots for micro in micro_batches for sample in micro)
        )

    def take_share(self, share: Sequence[Sequence[Sample]], roots: int) -> StepResult:
        """This rank's part of an optimizer step, which all ranks take part in and which ends alike for all.

        Args:
            share: micro-batches of this rank; there may be none.
            roots: of the full step, over all ranks.
        """
        config = self.config
        lr = learning_rate(config, self.peak, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        scale = 1.0 / max(1, roots * self.unrolled.steps)
        self.optimizer.zero_grad(set_to_none=True)
        sums = [
            self._micro_batch(
                self.draft,
                self.teacher,
                samples,
                self.unrolled.steps,
                self.unrolled.decay,
                scale,
            )
            for samples in share
        ]
        loss, right, rows = self._added(sums)
        norm = self._clipped_norm()
        counts = [round(n) for n in rows]
        taken = counts[0] > 0 and math.isfinite(norm) and all(map(math.isfinite, loss))
        if taken:
            self.optimizer.step()
        self.step += counts[0] > 0
        self.tokens += counts[0]
        return StepResult(
            loss=sum(loss) / max(1, sum(counts)),
            loss_per_position=tuple(x / max(1, n) for x, n in zip(loss, counts, strict=True)),
            accuracy_per_position=tuple(x / max(1, n) for x, n in zip(right, counts, strict=True)),
            grad_norm=norm,
            tokens=counts[0],
            lr=lr,
            taken=taken,
        )

    def _added(self, sums: Sequence[StepSums]) -> list[list[float]]:
        """Losses, right choices and rows by draft step, over all micro-batches of all ranks."""
        steps = range(self.unrolled.steps)
        own = [[sum(field[k] for field in fields) for k in steps]
               for fields in ([s.loss for s in sums], [s.correct for s in sums], [s.rows for s in sums])]  # fmt: skip
        added: list[list[float]] = self.ranks.add(torch.tensor(own, dtype=torch.float64)).tolist()
        return added

    def _clipped_norm(self) -> float:
        """Add gradients up over all ranks and clip them; returns their norm before that."""
        parameters = list(self.draft.parameters())
        self.ranks.add_gradients(parameters)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        first = self.ranks.of_first(float(norm))
        nn.utils.clip_grads_with_norm_(parameters, self.config.max_grad_norm, norm.new_tensor(first))
        return first
