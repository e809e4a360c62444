"""LoRA adapters: small random ones in PEFT's files, what they make of a model, and an engine that serves them.

SGLang 0.5.23 keeps adapters in pinned memory, for which it needs a GPU's driver: here it is ordinary memory.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from aurora_core.config import DraftConfig
from in_process import Ask, InProcess
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

LAYERS_ADAPTER, HEAD_ADAPTER = "layers", "head"
"""Adapters of all linear layers, and of some with the head."""
MODULES = {
    LAYERS_ADAPTER: ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    HEAD_ADAPTER: ("o_proj", "lm_head"),
}
_RANK, _ALPHA = 4, 8


def save(model: torch.nn.Module, folder: Path, name: str) -> None:
    """Write an adapter of a model, whose changes are about as large as the weights themselves."""
    generator, tensors = torch.Generator().manual_seed(3), {}
    for path, layer in model.named_modules():
        if path.rpartition(".")[2] in MODULES[name]:
            out, width = layer.weight.shape
            for part, shape in (("A", (_RANK, width)), ("B", (out, _RANK))):
                drawn = torch.randn(shape, generator=generator) * shape[1] ** -0.5
                tensors[f"base_model.model.{path}.lora_{part}.weight"] = drawn
    config = {"peft_type": "LORA", "r": _RANK, "lora_alpha": _ALPHA, "target_modules": MODULES[name], "bias": "none"}
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))


@torch.no_grad()
def merged(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """The model with an adapter's changes in its weights: B A alpha / r."""
    found, tensors = copy.deepcopy(model), load_file(folder / "adapter_model.safetensors")
    for name, a in tensors.items():
        if ".lora_A." in name:
            path = name.removeprefix("base_model.model.").partition(".lora_A.")[0]
            found.get_submodule(path).weight += tensors[name.replace("lora_A", "lora_B")] @ a * (_ALPHA / _RANK)
    return found


class _Ordinary(TorchFunctionMode):
    """Tensors that ask for pinned memory get ordinary memory."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        if function is torch.Tensor.pin_memory:
            return args[0]
        return function(*args, **{name: value for name, value in (kwargs or {}).items() if name != "pin_memory"})


def asked(folder: Path, arguments: tuple[str, ...], given: dict[str, list[int]]) -> None:
    """Ask an engine with a token tree, beside which SGLang serves adapters, with and without them."""
    tree = DraftConfig(draft_vocab_size=96, num_steps=3, top_k=2, num_draft_tokens=6)
    named = [f"{name}={folder / name}" for name in MODULES]
    with _Ordinary():
        engine = InProcess(folder, tree, (*arguments, "--lora-backend", "torch_native", "--lora-paths", *named))
        ids = {
            one.lora_name: one.lora_id
            for one in engine.scheduler.tp_worker.model_runner.lora_manager.lora_refs.values()
        }
        layers, head = ({"lora_id": ids[name]} for name in (LAYERS_ADAPTER, HEAD_ADAPTER))
        prompt, short = given["other"], given["short"]
        engine.ask(Ask("base", prompt))
        engine.ask(Ask("adapter", prompt, fields=layers))
        engine.ask(Ask("base-cached", prompt + short), Ask("adapter-cached", prompt + short, fields=layers))
        engine.ask(
            Ask("head", short, fields=head), Ask("adapter-beside", short, fields=layers), Ask("base-beside", short)
        )
        engine.finish()
