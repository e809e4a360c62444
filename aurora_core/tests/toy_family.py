"""A draft family as small as one can be: it proposes a block at once, from one layer of the target's, by its head.

For tests and as a start for others: docs/extending.md.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from aurora_core.config.parts import DraftConfig
from aurora_core.drafts.family import (
    CheckpointConfig,
    Draft,
    DraftFamily,
    Launch,
    MicroBatch,
    StepSums,
    Teacher,
    Unrolled,
)
from aurora_core.drafts.sums import nothing
from aurora_core.errors import ConfigError
from aurora_core.models import aux_layers
from aurora_core.models.target import Target
from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample
from torch import Tensor, nn

_ARCHITECTURE = "ToyDraftModel"
_FIELDS = {"hidden_size": "target_hidden_size", "vocab_size": "vocab_size", "block": "block"}
"""Keys of config.json, and our names."""


@dataclass(frozen=True)
class ToyConfig:
    """The shape."""

    target_hidden_size: int
    vocab_size: int
    block: int
    aux_layers: tuple[int, ...]

    @property
    def draft_vocab_size(self) -> int:
        return self.vocab_size

    def to_hf(self, dtype: str) -> dict[str, Any]:
        ours = {key: asdict(self)[name] for key, name in _FIELDS.items()}
        return {"architectures": [_ARCHITECTURE], "torch_dtype": dtype, "layers": list(self.aux_layers), **ours}


class ToyDraft(Draft):
    """A matrix for each place of the block."""

    algorithm = "TOY"
    config: ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        width = config.target_hidden_size
        self.heads = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(config.block))

    @property
    def ids(self) -> Tensor:
        return torch.arange(self.config.vocab_size)

    @property
    def head(self) -> None:
        return None

    def set_vocabulary(self, ids: Tensor) -> None:
        raise AssertionError(ids)

    def logits(self, teacher: Teacher, aux: Tensor) -> Tensor:
        """[block, ..., vocabulary] of the states that feed it, [..., H]."""
        return torch.stack([F.linear(head(aux), teacher.head) for head in self.heads])


def _micro_batch(
    draft: ToyDraft, teacher: Teacher, samples: Sequence[Sample], steps: int, decay: float, scale: float
) -> StepSums:
    batch = Batch.of(samples, teacher.dtype).to(teacher.device)
    sums = nothing(steps)
    total = torch.zeros((), device=teacher.device)
    with teacher.autocast():
        for step, logits in enumerate(draft.logits(teacher, batch.aux)[:steps]):
            rows, label = batch.supervised(step), batch.shifted(step + 2)
            loss = F.cross_entropy(logits[rows].float(), label[rows], reduction="sum")
            total = total + decay**step * loss
            sums.loss[step] = float(loss.detach())
            sums.correct[step] = float((logits[rows].argmax(-1) == label[rows]).sum())
            sums.rows[step] = int(rows.sum())
    (total * scale).backward()
    return sums


class ToyFamily:
    """See DraftFamily."""

    def default_layers(self, target: Target) -> tuple[int, ...]:
        return (target.num_layers // 2,)

    def initialise(self, config: DraftConfig, target: Target, seed: int) -> ToyDraft:
        layers = self.default_layers(target)
        aux_layers.check(layers, target, "a new draft cannot be fed by layers")
        draft = ToyDraft(ToyConfig(target.hidden_size, target.vocab_size, config.num_steps, layers))
        generator = torch.Generator().manual_seed(seed)
        for parameter in draft.parameters():
            nn.init.normal_(parameter, std=0.01, generator=generator)
        return draft

    def read_config(self, raw: Mapping[str, Any], names: Collection[str] | None = None) -> ToyConfig:
        del names  # its configuration says all
        if raw.get("architectures") != [_ARCHITECTURE]:
            raise ConfigError(f"architectures are {raw.get('architectures')!r:.60}, not [{_ARCHITECTURE}]")
        ours = {name: int(raw[key]) for key, name in _FIELDS.items()}
        if not 0 < ours["block"] <= 16:
            raise ConfigError(f"block is {ours['block']}: supported are 1 to 16")
        return ToyConfig(**ours, aux_layers=tuple(map(int, raw["layers"])))

    def assemble(self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layers: tuple[int, ...]) -> ToyDraft:
        del layers  # its configuration always names them
        draft = ToyDraft(self.read_config(raw))
        draft.load_state_dict(dict(tensors))
        return draft

    def with_rows(self, draft: ToyDraft, rows: Tensor) -> ToyDraft:
        raise AssertionError(rows)

    def layout(self, raw: Mapping[str, Any], names: Collection[str]) -> str:
        del raw, names  # there is one
        return "toy"

    def converted(
        self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layout: str
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        raise ConfigError(f"a toy has no layout {layout}")

    def sample_widths(self, config: CheckpointConfig) -> tuple[int, int]:
        return config.target_hidden_size, config.target_hidden_size

    def unrolled(self, draft: ToyDraft, steps: int, decay: float | None) -> Unrolled:
        return Unrolled(min(steps, draft.config.block), 1.0 if decay is None else decay)

    def micro_batch(self, loss: str) -> MicroBatch[ToyDraft]:
        del loss  # there is one way
        return _micro_batch

    def proposals(
        self, draft: ToyDraft, teacher: Teacher, batch: Batch, steps: int, width: int = 1
    ) -> Iterator[Tensor]:
        yield from draft.logits(teacher, batch.aux)[:steps].topk(width).indices

    def launch(self, config: DraftConfig, folder: Path) -> Launch:
        block = folder / "block.json"
        return Launch(("--toy-block", str(block)), {"TOY": "1"}, {block: str(config.num_steps)})

    def load(self, draft_worker: Any, tensors: Mapping[str, Tensor]) -> None:
        draft_worker.load_state_dict(dict(tensors))


FAMILY: DraftFamily[ToyDraft] = ToyFamily()
