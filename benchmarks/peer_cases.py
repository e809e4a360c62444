"""What trainers are compared on: shapes of drafts, cases, samples, and the settings that they train with.

It is read in each trainer's own environment: nothing but torch and safetensors is imported here.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file


@dataclass(frozen=True)
class Shape:
    """Of a target and of its draft, which has one layer as wide as the target's."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    draft_vocabulary: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5


SMALL = Shape(576, 1536, 9, 3, 49_152, 8_192)
"""SmolLM2-135M's widths."""
WIDE = Shape(4096, 14_336, 32, 8, 128_256, 32_000)
"""Llama-3.1-8B's widths."""
TINY = Shape(64, 128, 4, 2, 1_024, 512)


@dataclass(frozen=True)
class Settings:
    """Settings that all trainers share, in place of each one's own: AdamW without decay of weights, a constant rate.

    Attributes:
        lr: learning rate after warm-up.
        warmup: steps of linear warm-up.
        clip: norm that gradients are clipped to.
        decay: weight of each further unrolled step's loss relative to the one before.
    """

    lr: float
    warmup: int
    clip: float
    decay: float


@dataclass(frozen=True)
class Case:
    """What trainers are made for.

    Attributes:
        lengths: tokens of each sample; none where samples come from a file.
        prompt: share of a sample that is prompt.
        steps: unrolled; 0: each trainer's own default.
        precision: "bf16" or "fp32".
        settings: the same for all; None: each trainer's own.
        total: optimizer steps that schedules are made for.
    """

    lengths: tuple[int, ...]
    prompt: float
    steps: int
    precision: str
    settings: Settings | None = None
    total: int = 1000

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Self:
        """From what :func:`dataclasses.asdict` made, through JSON."""
        settings = raw["settings"] and Settings(**raw["settings"])
        return cls(**{**raw, "lengths": tuple(raw["lengths"]), "settings": settings})

    @property
    def dtype(self) -> torch.dtype:
        """Of the arithmetic."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


_MIXED = (150, 171, 193, 214, 236, 257, 279, 300)
CPU_CASES = {
    "2 x 150-300, 3 steps, 40 % prompt": Case((150, 300), 0.4, 3, "fp32"),
    "2 x 150-300, 7 steps, 40 % prompt": Case((150, 300), 0.4, 7, "fp32"),
    "2 x 150-300, 3 steps, 80 % prompt": Case((150, 300), 0.8, 3, "fp32"),
    "1 x 2,048, 3 steps, 40 % prompt": Case((2048,), 0.4, 3, "fp32"),
    "8 x 150-300, 3 steps, 40 % prompt": Case(_MIXED, 0.4, 3, "fp32"),
}
GPU_CASES = {
    "1 x 2,048, 7 steps, 40 % prompt": Case((2048,), 0.4, 7, "bf16"),
    "1 x 8,192, 7 steps, 40 % prompt": Case((8192,), 0.4, 7, "bf16"),
    "8 x 256, 7 steps, 40 % prompt": Case((256,) * 8, 0.4, 7, "bf16"),
    "1 x 8,192, 7 steps, 80 % prompt": Case((8192,), 0.8, 7, "bf16"),
    "1 x 32,768, 7 steps, 40 % prompt": Case((32768,), 0.4, 7, "bf16"),
}
TINY_CASES = {
    "2 x 48-64, 3 steps": Case((64, 48), 0.4, 3, "fp32"),
    "1 x 96, 2 steps, 80 % prompt": Case((96,), 0.8, 2, "fp32"),
}


@dataclass(frozen=True)
class Document:
    """A sample: rows of states, and one token more.

    Attributes:
        tokens: [rows + 1] int64.
        prompt: the first so many are the prompt.
        aux: [rows, 3 * hidden] bfloat16, the outputs of three of the target's layers.
        last: [rows, hidden] bfloat16, the target's last states after its norm.
    """

    tokens: torch.Tensor
    prompt: int
    aux: torch.Tensor
    last: torch.Tensor

    @property
    def rows(self) -> int:
        """Of states."""
        return int(self.aux.shape[0])

    @property
    def first(self) -> int:
        """The first row that is trained on, the prompt's last; the last such row is ``rows`` - 2."""
        return self.prompt - 1


def random_documents(case: Case, shape: Shape) -> list[Document]:
    """The same for each trainer: tokens of the draft's vocabulary, which is the first ids, and normal states."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for length in case.lengths:
        tokens = torch.randint(shape.draft_vocabulary, (length + 1,), generator=generator)
        states = torch.randn(length, 4 * shape.hidden, generator=generator).to(torch.bfloat16)
        width = 3 * shape.hidden
        made.append(Document(tokens, max(1, int(length * case.prompt)), states[:, :width], states[:, width:]))
    return made


def write_documents(path: Path, documents: Sequence[Document], ids: torch.Tensor) -> None:
    """Documents and the ids of the draft's vocabulary, for :func:`read_documents` in other processes."""
    tensors = {"ids": ids}
    for index, one in enumerate(documents):
        tensors |= {f"{index}.tokens": one.tokens, f"{index}.aux": one.aux, f"{index}.last": one.last}
    prompts = json.dumps([one.prompt for one in documents])
    save_file({name: each.contiguous() for name, each in tensors.items()}, path)
    path.with_suffix(".json").write_text(prompts, encoding="utf-8")


def read_documents(path: Path) -> tuple[list[Document], torch.Tensor]:
    """What :func:`write_documents` wrote."""
    tensors = load_file(path)
    prompts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return [
        Document(tensors[f"{index}.tokens"], prompt, tensors[f"{index}.aux"], tensors[f"{index}.last"])
        for index, prompt in enumerate(prompts)
    ], tensors["ids"]


def write_target(folder: Path, shape: Shape) -> None:
    """A target of random weights: configuration, embedding, head and norm, which is what trainers of drafts read."""
    folder.mkdir(parents=True)
    block = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(torch.bfloat16)

    def weight(offset: int) -> torch.Tensor:
        # Random numbers cost minutes at this size: a block of them is repeated, moved on by an odd number.
        count = shape.vocabulary * shape.hidden
        repeated = block.repeat(count // block.numel() + 2)
        return repeated[offset : offset + count].view(shape.vocabulary, shape.hidden).clone()

    tensors = {
        "model.embed_tokens.weight": weight(12_345),
        "lm_head.weight": weight(54_321),
        "model.norm.weight": torch.ones(shape.hidden, dtype=torch.bfloat16),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "num_hidden_layers": 8,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 65_536,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


@dataclass(frozen=True)
class Padded:
    """Documents of one length, [count, rows, ...] on the device."""

    tokens: torch.Tensor
    attended: torch.Tensor
    trained: torch.Tensor
    aux: torch.Tensor
    last: torch.Tensor


def padded(documents: Sequence[Document], device: torch.device, dtype: torch.dtype) -> Padded:
    """A batch as SpecForge and TorchSpec collate it; the rows that are trained on are the same as ours."""
    rows = max(one.rows for one in documents)
    count, width = len(documents), documents[0].last.shape[-1]
    tokens = torch.zeros(count, rows, dtype=torch.int64)
    attended, trained = torch.zeros(count, rows, dtype=torch.bool), torch.zeros(count, rows)
    aux, last = torch.zeros(count, rows, 3 * width, dtype=dtype), torch.zeros(count, rows, width, dtype=dtype)
    for index, one in enumerate(documents):
        tokens[index, : one.rows], attended[index, : one.rows] = one.tokens[: one.rows], True
        aux[index, : one.rows], last[index, : one.rows] = one.aux, one.last
        trained[index, one.first : one.rows - 1] = 1
    return Padded(*(part.to(device) for part in (tokens, attended, trained, aux, last)))


def joined(documents: Sequence[Document], device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """A batch as speculators packs it, [1, rows of all, ...]: token and last states of the next row beside each row."""
    parts: list[dict[str, torch.Tensor]] = []
    for number, one in enumerate(documents):
        size = one.rows - 1
        parts.append(
            {
                "input_ids": one.tokens[1 : one.rows],
                "hidden_states": one.aux[:-1].to(dtype),
                "verifier_last_hidden_states": one.last[1:].to(dtype),
                "loss_mask": torch.arange(size) >= one.first,
                "position_ids": torch.arange(1, one.rows),
                "document_ids": torch.full((size,), number),
            }
        )
    return {name: torch.cat([part[name] for part in parts])[None].to(device) for name in parts[0]}


def as_json(case: Case) -> dict[str, Any]:
    """For :meth:`Case.read`."""
    return asdict(case)
