"""How well each trainer's draft serves after the same samples: requests of the demonstration's model, held-out ones.

All train on the same batches in the same order. Between parts, outside every clock, each draft's weights are read into
this project's draft, and the verify cycles of greedy serving are simulated on requests that nobody trained on.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from aurora_core.config import DraftConfig
from aurora_core.drafts.family import Draft, Teacher
from aurora_core.evaluation.accept import generated_counts, simulate
from aurora_core.models import vocabulary
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from families import HELD, answered, samples_for
from peer_cases import Document, Shape, write_documents
from safetensors.torch import load_file

DRAFT_STEPS = 3
"""Of a verify cycle."""


class Requests:
    """Answers of a target: some to train on, some held out, and the draft that equal settings start from.

    Args:
        target: which answers.
        prompts: to answer.
        tokens: of an answer, at most.
        draft_vocabulary: tokens of a draft.
        folder: for what trainers read.
    """

    def __init__(
        self, target: Target, prompts: Sequence[str], tokens: int, draft_vocabulary: int, folder: Path
    ) -> None:
        self.draft: Draft = first_draft(DraftConfig(draft_vocab_size=draft_vocabulary), target, 0)
        samples = samples_for(answered(target, prompts, tokens), self.draft.config.aux_layers)
        train, self._held = samples[HELD:], samples[:HELD]
        ids = vocabulary.choose(generated_counts(train, target.vocab_size), draft_vocabulary)
        self.draft.set_vocabulary(ids)
        with torch.no_grad():
            self.draft.get_parameter("lm_head.weight").copy_(target.head_rows(ids))
        self.documents, self.first = folder / "requests.safetensors", folder / "first"
        write_documents(self.documents, [_document(one) for one in train], ids)
        self.first.mkdir()
        checkpoint.write(self.first, self.draft)
        self.count = len(train)
        self._teacher = Teacher.of(target, self.draft, torch.float32, torch.device("cpu"))

    def batches(self, count: int, size: int) -> list[list[int]]:
        """Numbers of documents, each order of them a new one."""
        generator = torch.Generator().manual_seed(1)
        drawn: list[int] = []
        while len(drawn) < count * size:
            drawn += torch.randperm(self.count, generator=generator).tolist()
        return [drawn[start : start + size] for start in range(0, count * size, size)]

    def accept_length(self, weights: Path) -> float:
        """On held-out requests, of the draft whose trained weights are in a file.

        Raises:
            RuntimeError: some of the draft's weights are not there.
        """
        found = load_file(weights)
        lacking = [name for name, _ in self.draft.named_parameters() if name not in found]
        if lacking:
            message = f"{weights} lacks {', '.join(lacking)}"
            raise RuntimeError(message)
        self.draft.load_state_dict(found, strict=False)
        return simulate(self.draft, self._teacher, self._held, steps=DRAFT_STEPS).length


def _document(sample: Sample) -> Document:
    return Document(sample.tokens, sample.prompt_tokens, sample.aux, sample.last)


def shape_of(target: Target, draft_vocabulary: int) -> Shape:
    """The widths of a target's draft."""
    raw = json.loads((target.path / "config.json").read_text(encoding="utf-8"))
    rope = raw.get("rope_parameters") or raw
    return Shape(
        hidden=raw["hidden_size"],
        intermediate=raw["intermediate_size"],
        heads=raw["num_attention_heads"],
        kv_heads=raw["num_key_value_heads"],
        vocabulary=raw["vocab_size"],
        draft_vocabulary=draft_vocabulary,
        rope_theta=rope["rope_theta"],
        norm_eps=raw["rms_norm_eps"],
    )
