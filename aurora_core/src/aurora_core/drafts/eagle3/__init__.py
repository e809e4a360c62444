"""EAGLE3 (Li et al., 2025, arXiv 2503.01840): a layer that reads three of the target's, one token after the other."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aurora_core.config.parts import DraftConfig
from aurora_core.drafts.eagle3 import assemble, day_zero, layers, layouts, serving, supervision
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.drafts.eagle3.unroll import unroll
from aurora_core.drafts.family import CheckpointConfig, DraftFamily, Launch, MicroBatch, Teacher, Unrolled
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.products import linear
from aurora_core.samples.batch import Batch

_DECAY = 0.8


class Eagle3Family:
    """See :class:`aurora_core.drafts.family.DraftFamily`."""

    def default_layers(self, target: Target) -> tuple[int, ...]:
        """An early, the middle and a late one."""
        return layers.default(target)

    def initialise(self, config: DraftConfig, target: Target, seed: int) -> Eagle3Draft:
        """A layer like the target's last.

        Its vocabulary is a guess (low ids, which tokenizers give to common tokens) until traffic is seen.
        """
        shape = Eagle3Config.for_target(target, config.draft_vocab_size, config.aux_layers, config.shape)
        draft = Eagle3Draft(shape)
        ids = vocabulary.choose(torch.zeros(target.vocab_size), shape.draft_vocab_size)
        day_zero.initialise(draft, target, ids, seed)
        return draft

    def read_config(self, raw: Mapping[str, Any], names: Collection[str] | None = None) -> Eagle3Config:
        """The configuration of anyone's EAGLE3 checkpoint."""
        return layouts.config_of(raw, names)

    def assemble(self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layers: tuple[int, ...]) -> Eagle3Draft:
        """A draft with the tensors of anyone's EAGLE3 checkpoint."""
        config = layouts.config_of(raw, tensors)
        return assemble.assemble(config if config.aux_layers else replace(config, aux_layers=layers), tensors)

    def with_rows(self, draft: Eagle3Draft, rows: Tensor) -> Eagle3Draft:
        """A smaller draft vocabulary."""
        out = Eagle3Draft(replace(draft.config, draft_vocab_size=rows.numel()))
        own = {name: value for name, value in draft.state_dict().items() if name not in {"d2t", "t2d"}}
        own["lm_head.weight"] = own["lm_head.weight"][rows]
        out.load_state_dict(own, strict=False)
        out.set_vocabulary(draft.ids[rows])
        return out

    def layout(self, raw: Mapping[str, Any], names: Collection[str]) -> layouts.Layout:
        """SGLang's, that of speculators, or SGLang's with names as in a Llama of transformers."""
        return layouts.layout(raw, names)

    def converted(
        self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layout: str
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """To any of those."""
        return layouts.converted(raw, tensors, layout)

    def sample_widths(self, config: CheckpointConfig) -> tuple[int, int]:
        """The layers that feed the draft, side by side, and the target's last."""
        return len(config.aux_layers) * config.target_hidden_size, config.target_hidden_size

    def unrolled(self, draft: Eagle3Draft, steps: int, decay: float | None) -> Unrolled:
        """As far as is wished; by default a step weighs 0.8 of the one before, as in Aurora."""
        del draft
        return Unrolled(steps, _DECAY if decay is None else decay)

    def micro_batch(self, loss: Literal["fused", "reference"]) -> MicroBatch[Eagle3Draft]:
        """Packed, or every row of padded samples."""
        return supervision.packed if loss == "fused" else supervision.plain

    def proposals(
        self, draft: Eagle3Draft, teacher: Teacher, batch: Batch, steps: int, width: int = 1
    ) -> Iterator[Tensor]:
        """The likeliest tokens of each step of the chains."""
        ids = draft.ids.to(batch.tokens.device)
        head = teacher.head if draft.head is None else draft.head
        for step, out in enumerate(unroll(draft, teacher.embedding, batch, steps)):
            supervised = batch.supervised(step)
            choice = batch.tokens.new_zeros((*supervised.shape, width))
            logits = linear(out[supervised], head.to(out.dtype))
            choice[supervised] = ids[logits.argmax(-1, keepdim=True) if width == 1 else logits.topk(width).indices]
            yield choice

    def launch(self, config: DraftConfig, folder: Path) -> Launch:
        """Steps and branches."""
        return serving.launch(config, folder)

    def load(self, draft_worker: Any, tensors: Mapping[str, Tensor]) -> None:
        """The layer's weights, and the map of its vocabulary."""
        serving.load(draft_worker, tensors)


FAMILY: DraftFamily[Eagle3Draft] = Eagle3Family()
