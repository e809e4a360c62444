"""What a draft family is to everything else: one protocol, and the two things that it deals in, drafts and teachers.

Letters in shapes: B samples, T rows of the longest, V draft vocabulary, D draft width, H target width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from aurora_core.config.parts import DraftConfig
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample


class CheckpointConfig(Protocol):
    """What the config.json of a draft says. Two are equal where an engine can swap one draft for the other."""

    @property
    def vocab_size(self) -> int:
        """Tokens of the target."""

    @property
    def draft_vocab_size(self) -> int:
        """Tokens that the draft can propose; the target's where it has no vocabulary of its own."""

    @property
    def target_hidden_size(self) -> int:
        """Width of the target."""

    @property
    def aux_layers(self) -> tuple[int, ...]:
        """Target layers, numbered from 0, whose outputs feed the draft."""

    def to_hf(self, dtype: str) -> dict[str, Any]:
        """config.json as SGLang reads it, of weights in a torch type such as ``bfloat16``."""


class Draft(nn.Module, ABC):
    """A draft's weights. Its parameters and buffers are the checkpoint's tensors, by the names that SGLang reads.

    Attributes:
        algorithm: of its family, in the registry.
        config: of its checkpoint.
    """

    algorithm: ClassVar[str]
    config: CheckpointConfig

    @property
    @abstractmethod
    def ids(self) -> Tensor:
        """Target tokens that it can propose, int64 [V] ascending, on the CPU."""

    @property
    @abstractmethod
    def head(self) -> Tensor | None:
        """Its own head, a parameter [V, D] with a row for each of :attr:`ids`; None where it uses the target's."""

    @abstractmethod
    def set_vocabulary(self, ids: Tensor) -> None:
        """Record which target tokens the head's rows stand for, int64 [V] ascending.

        Called only where :attr:`head` is not None.
        """


D = TypeVar("D", bound=Draft)


@dataclass(frozen=True)
class Teacher:
    """What a draft is trained against.

    Attributes:
        embedding: the target's, [target vocabulary, H].
        head: its head's rows of the draft's vocabulary, [V, H].
        soft_cap: bound of the target's logits, or None.
        to_draft: int64 [target vocabulary], draft id of each target token, -1 where it has none.
        dtype: arithmetic of the forward and backward pass.
        device: where.
    """

    embedding: Tensor
    head: Tensor
    soft_cap: float | None
    to_draft: Tensor
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, target: Target, draft: Draft, dtype: torch.dtype, device: torch.device) -> Self:
        """The teacher of a draft with its present vocabulary.

        Raises:
            ConfigError: the target's embedding or head cannot be read.
        """
        ids = draft.ids
        return cls(
            embedding=target.embedding.to(device, dtype),
            head=target.lm_head[ids].to(device, dtype),
            soft_cap=target.soft_cap,
            to_draft=vocabulary.target_to_draft(ids, draft.config.vocab_size).to(device),
            dtype=dtype,
            device=device,
        )

    def with_vocabulary(self, target: Target, draft: Draft) -> Self:
        """The same, with the present vocabulary of a draft of the same target."""
        ids = draft.ids
        return replace(
            self,
            head=target.lm_head[ids].to(self.device, self.dtype),
            to_draft=vocabulary.target_to_draft(ids, draft.config.vocab_size).to(self.device),
        )

    def autocast(self) -> torch.autocast:
        """The context that computes in that arithmetic."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


@dataclass(frozen=True)
class Unrolled:
    """How far a draft is trained.

    Attributes:
        steps: draft steps, one after the other or proposals of a block.
        decay: weight of each further one's loss relative to the one before.
    """

    steps: int
    decay: float


@dataclass(frozen=True)
class StepSums:
    """Sums over a micro-batch, by draft step: of the rows' losses, of correct predictions, and of rows."""

    loss: list[float]
    correct: list[float]
    rows: list[int]


MicroBatch = Callable[[D, Teacher, Sequence[Sample], int, float, float], StepSums]
"""Forward and backward of draft, teacher, samples, draft steps, weight of each further step, scale of the loss.

Gradients are added to those of the draft's parameters. Samples without a row to learn from give sums of zero.
"""


@dataclass(frozen=True)
class Launch:
    """What an engine with a draft of the family is started with, beside what every draft needs.

    Attributes:
        arguments: of SGLang.
        environment: variables.
        files: that must be there first, text by path.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)


class DraftFamily(Protocol[D]):
    """All that is one family's own.

    Nothing here is called while a request waits but :meth:`load`, between two cycles of the engine.
    """

    def default_layers(self, target: Target) -> tuple[int, ...]:
        """Target layers that feed a draft which names none.

        Raises:
            ConfigError: the target has too few.
        """

    def initialise(self, config: DraftConfig, target: Target, seed: int) -> D:
        """A new draft (day-0), weights in fp32.

        Raises:
            ConfigError: the target cannot be read, or cannot have such a draft.
        """

    def read_config(self, raw: Mapping[str, Any], names: Collection[str] | None = None) -> CheckpointConfig:
        """What a config.json says; of anyone's checkpoint, so that nothing in it is trusted.

        Args:
            raw: the configuration.
            names: of the checkpoint's tensors, where they are known: some configurations leave it to them whether a
                draft has a head of its own.

        Raises:
            ConfigError: another architecture, or one that computes something else than is supported here. Whatever
                else it raises over malformed JSON is reported in the same way.
        """

    def assemble(self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layers: tuple[int, ...]) -> D:
        """A draft of a checkpoint's parts, weights in fp32.

        Args:
            raw: its config.json.
            tensors: of its safetensors files, under the names that whoever published them uses.
            layers: those that feed it, where its configuration names none.

        Raises:
            ConfigError: tensors are missing, too many, or of other shapes than the configuration's.
        """

    def with_rows(self, draft: D, rows: Tensor) -> D:
        """The same draft with some of its head's rows alone, int64 ascending; the one that is given stays as it is.

        Called only where the draft has a head of its own.
        """

    def layout(self, raw: Mapping[str, Any], names: Collection[str]) -> str:
        """Whose layout a checkpoint has, of its config.json and the names of its tensors."""

    def converted(
        self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layout: str
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """A checkpoint's config.json and tensors in another layout, the numbers as they are.

        Raises:
            ConfigError: there is no such layout, or it cannot say what the checkpoint says.
        """

    def sample_widths(self, config: CheckpointConfig) -> tuple[int, int]:
        """How wide a sample's auxiliary and its last hidden states must be."""

    def unrolled(self, draft: D, steps: int, decay: float | None) -> Unrolled:
        """How far a draft is trained, where so many steps and such weights are wished for; None is the family's own."""

    def micro_batch(self, loss: Literal["fused", "reference"]) -> MicroBatch[D]:
        """How a micro-batch is trained on: fast, or as the definition of what is meant."""

    def proposals(self, draft: D, teacher: Teacher, batch: Batch, steps: int, width: int = 1) -> Iterator[Tensor]:
        """What the draft would propose, were a verify cycle to start at each row.

        Args:
            draft: the draft.
            teacher: of the draft or, where drafts have heads of their own, of another one: then its ``head`` and
                ``to_draft`` may be of another vocabulary.
            batch: the samples.
            steps: draft steps.
            width: proposals of a row, at most as many as the draft's vocabulary has.

        Yields:
            For each step target tokens, int64 [B, T, width]: at row t the proposals for token t + 2 + step, the
            likeliest first, had the right one been accepted at each step before. Only rows of
            ``batch.supervised(step)`` are read, and of those the ones whose earlier proposals were all right.
        """

    def launch(self, config: DraftConfig, folder: Path) -> Launch:
        """What SGLang needs for such a draft; ``folder`` is where its files may be, and nothing is written here."""

    def load(self, draft_worker: Any, tensors: Mapping[str, Tensor]) -> None:
        """Copy a version's tensors into the running draft, in place, and all that the engine derived from the old ones.

        Args:
            draft_worker: SGLang's.
            tensors: those that :func:`aurora_core.weights.checkpoint.write` wrote.

        Raises:
            RuntimeError, ValueError, AttributeError: the engine refuses them; the old ones are then loaded again.
        """
