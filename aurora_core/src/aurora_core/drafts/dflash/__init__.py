"""DFlash (Chen et al., 2026, arXiv 2602.06036): all proposals of a block at once, from the target's own states."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aurora_core.config.parts import DraftConfig
from aurora_core.drafts.dflash import assemble, day_zero, layers, serving, supervision
from aurora_core.drafts.dflash.anchors import Anchors
from aurora_core.drafts.dflash.config import DFlashConfig
from aurora_core.drafts.dflash.draft import DFlashDraft
from aurora_core.drafts.dflash.packed import outputs
from aurora_core.drafts.family import CheckpointConfig, DraftFamily, Launch, MicroBatch, Teacher, Unrolled
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target
from aurora_core.products import linear
from aurora_core.samples.batch import Batch
from aurora_core.samples.packed import Packed

_LAYOUT = "sglang"


class DFlashFamily:
    """See :class:`aurora_core.drafts.family.DraftFamily`."""

    def default_layers(self, target: Target) -> tuple[int, ...]:
        """As many as a new draft has layers; a checkpoint always says which."""
        return layers.default(target, layers.DEPTH)

    def initialise(self, config: DraftConfig, target: Target, seed: int) -> DFlashDraft:
        """Layers like the target's last ones."""
        draft = DFlashDraft(DFlashConfig.for_target(config, target, day_zero.mask_token(target)))
        day_zero.initialise(draft, target, seed)
        return draft

    def read_config(self, raw: Mapping[str, Any], names: Collection[str] | None = None) -> DFlashConfig:
        """The configuration of anyone's DFlash checkpoint."""
        del names  # it always uses its target's head
        return DFlashConfig.from_hf(raw)

    def assemble(self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layers: tuple[int, ...]) -> DFlashDraft:
        """A draft with the tensors of anyone's DFlash checkpoint."""
        del layers  # its configuration always says which
        return assemble.assemble(DFlashConfig.from_hf(raw), tensors)

    def with_rows(self, draft: DFlashDraft, rows: Tensor) -> DFlashDraft:
        """Never called: it has no head of its own."""
        message = f"a DFlash draft of {draft.config.vocab_size} tokens has no head to keep {rows.numel()} rows of"
        raise TypeError(message)

    def layout(self, raw: Mapping[str, Any], names: Collection[str]) -> str:
        """There is one, which SGLang and the authors share."""
        del raw, names
        return _LAYOUT

    def converted(
        self, raw: Mapping[str, Any], tensors: Mapping[str, Tensor], layout: str
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """To the one that there is."""
        if layout != _LAYOUT:
            raise ConfigError(f"DFLASH has no layout {layout!r:.60}: there is {_LAYOUT}")
        return dict(raw), dict(tensors)

    def sample_widths(self, config: CheckpointConfig) -> tuple[int, int]:
        """The layers that feed the draft, side by side, and the target's last."""
        return len(config.aux_layers) * config.target_hidden_size, config.target_hidden_size

    def unrolled(self, draft: DFlashDraft, steps: int, decay: float | None) -> Unrolled:
        """All proposals of a block, whatever number is wished for; by default they weigh as its authors say."""
        del steps
        size = draft.config.block_size
        return Unrolled(size - 1, supervision.decay(size) if decay is None else decay)

    def micro_batch(self, loss: Literal["fused", "reference"]) -> MicroBatch[DFlashDraft]:
        """Packed, or every row of padded samples."""
        return supervision.packed if loss == "fused" else supervision.plain

    def proposals(
        self, draft: DFlashDraft, teacher: Teacher, batch: Batch, steps: int, width: int = 1
    ) -> Iterator[Tensor]:
        """The likeliest tokens of each position of the blocks, as far as all before it were right."""
        rows = Packed.of_batch(batch)
        shape = (*batch.shifted(0).shape, width)
        if rows is None:
            yield from (batch.tokens.new_zeros(shape) for _ in range(steps))
            return
        most = max(roots for *_, roots in rows.spans)
        anchors = Anchors.of(rows.spans, steps + 1, most).to(batch.tokens.device)
        hidden = outputs(draft, teacher.embedding, rows, anchors)
        where = batch.roots() & batch.supervised(0)
        right = torch.ones_like(anchors.root, dtype=torch.bool)
        for step in range(steps):
            read = ((anchors.offset == step + 1) & right[anchors.anchor]).nonzero()[:, 0]
            logits = linear(hidden[read], teacher.head.to(hidden.dtype))
            found = logits.argmax(-1, keepdim=True) if width == 1 else logits.topk(width).indices
            at, of_root = anchors.anchor[read], anchors.root.new_zeros((anchors.root.shape[0], width))
            of_root[at] = found
            right = torch.zeros_like(right).index_put((at,), found[:, 0] == rows.label[anchors.answer[read]])
            choice = batch.tokens.new_zeros(shape)
            choice[where] = of_root
            yield choice

    def launch(self, config: DraftConfig, folder: Path) -> Launch:
        """The block."""
        return serving.launch(config, folder)

    def load(self, draft_worker: Any, tensors: Mapping[str, Tensor]) -> None:
        """The layers' weights, and what is derived from them."""
        serving.load(draft_worker, tensors)


FAMILY: DraftFamily[DFlashDraft] = DFlashFamily()
