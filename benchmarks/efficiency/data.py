"""What every variant is trained and measured on, made once: answers of the target, and its hidden states at each token.

The target answers each prompt greedily and, where there is time for it, once at temperature 0.8. Prompts are split, not
answers, so that nothing of a held-out prompt is trained on. States are those that
:class:`aurora_core.datasets.states.HiddenStates` computes, a batch at a time.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from aurora_core.datasets.answers import Answer, tokenizer_of
from aurora_core.datasets.states import HiddenStates
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from efficiency.domains import domains

Kind = Literal["greedy", "sampled"]
_TEMPERATURE, _FEWEST = 0.8, 4


@dataclass(frozen=True)
class Amount:
    """How much data there is.

    Attributes:
        prompts: of each domain.
        heldout: of these, on which nothing is trained.
        tokens: of an answer, at most.
        domains: how many.
        together: answers at a time.
        kinds: of answers.
    """

    prompts: int = 320
    heldout: int = 48
    tokens: int = 128
    domains: int = 4
    together: int = 1280
    kinds: tuple[Kind, ...] = ("greedy", "sampled")


@dataclass(frozen=True)
class Recorded:
    """A sample, and what it is one of."""

    sample: Sample
    domain: str
    kind: Kind
    heldout: bool


@torch.no_grad()
def _answers(model: Any, tokenizer: Any, texts: Sequence[str], kind: Kind, tokens: int) -> list[tuple[Tensor, int]]:  # noqa: ANN401 (transformers')
    """Tokens of prompt and answer, and how many are the prompt; with the ending token, without what follows it."""
    given = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
    how: dict[str, Any] = {"do_sample": kind == "sampled"}
    if kind == "sampled":
        how |= {"temperature": _TEMPERATURE, "top_k": 0, "top_p": 1.0}
    every = model.generate(**given, max_new_tokens=tokens, pad_token_id=tokenizer.pad_token_id, **how).cpu()
    width, found = given.input_ids.shape[1], []
    for row, mask in zip(every, given.attention_mask.cpu(), strict=True):
        prompt, answer = row[:width][mask.bool()], row[width:]
        ends = (answer == tokenizer.eos_token_id).nonzero()
        answer = answer[: int(ends[0]) + 1] if ends.numel() else answer
        found.append((torch.cat([prompt, answer]), prompt.numel()))
    return found


def record(target: Target, amount: Amount, folder: Path, device: torch.device) -> None:
    """Make the data and write it below ``folder``: safetensors, and a JSON file that says where each sample lies."""
    torch.manual_seed(0)
    tokenizer = tokenizer_of(target)
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(target.path, dtype=dtype, local_files_only=True)
    model = model.to(device).eval()
    asked = [
        (domain, number, tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True))
        for domain, texts in list(domains().items())[: amount.domains]
        for number, text in enumerate(texts[: amount.prompts])
    ]  # fmt: skip
    answers: list[Answer] = []
    for kind in amount.kinds:
        for start in range(0, len(asked), amount.together):
            part = asked[start : start + amount.together]
            done = _answers(model, tokenizer, [text for _, _, text in part], kind, amount.tokens)
            answers += [
                Answer(f"{domain}/{number}/{kind}", domain, tokens, prompt, text)
                for (domain, number, text), (tokens, prompt) in zip(part, done, strict=True)
                if tokens.numel() - prompt >= _FEWEST
            ]
    del model
    layers = (1, target.num_layers // 2 - 1, target.num_layers - 4)
    states = HiddenStates.load(target, layers, device)
    answers.sort(key=lambda one: one.tokens.numel())
    samples = [s for at in range(0, len(answers), 64) for s in states.samples(answers[at : at + 64])]
    save_file(
        {
            "tokens": torch.cat([s.tokens for s in samples]).to(torch.int32),
            "aux": torch.cat([s.aux for s in samples]),
            "last": torch.cat([s.last for s in samples]),
        },
        folder / "data.safetensors",
    )
    index = [(s.request, s.tokens.numel(), s.prompt_tokens) for s in samples]
    (folder / "data.json").write_text(json.dumps({"samples": index, "heldout": amount.heldout}))


def recorded(folder: Path, device: torch.device) -> list[Recorded]:
    """What :func:`record` wrote, in the order of domain and prompt; hidden states on the device, tokens not."""
    described = json.loads((folder / "data.json").read_text())
    stored = load_file(folder / "data.safetensors")
    tokens, aux, last = stored["tokens"].long(), stored["aux"].to(device), stored["last"].to(device)
    found, at, row = [], 0, 0
    for name, length, prompt in described["samples"]:
        domain, number, kind = name.split("/")
        rows = slice(row, row + length - 1)
        sample = Sample(name, tokens[at : at + length], prompt, aux[rows], last[rows], -1, "")
        found.append((domain, int(number), kind, sample))
        at, row = at + length, row + length - 1
    order = {name: place for place, name in enumerate(domains())}
    found.sort(key=lambda one: (order[one[0]], one[1], one[2]))
    return [Recorded(sample, domain, kind, number < described["heldout"]) for domain, number, kind, sample in found]


def with_prompt_rows(sample: Sample) -> Sample:
    """The same, every row of it a row to learn from."""
    return replace(sample, prompt_tokens=1)


def on(sample: Sample, device: torch.device) -> Sample:
    """The same with its tokens on a device, as its states are."""
    return replace(sample, tokens=sample.tokens.to(device))
