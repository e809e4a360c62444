"""Layouts of EAGLE3's checkpoints: what config.json is like, and what the tensors are called.

``sglang`` has SGLang's configuration and calls the layer ``midlayer.``; ``huggingface`` has the same configuration and
calls it ``layers.0.``, as a Llama of transformers does; ``speculators`` has those names and a configuration of its own.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

from torch import Tensor

from aurora_core.arithmetic import short_name
from aurora_core.drafts.eagle3 import foreign, speculators
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.errors import ConfigError

Layout = Literal["sglang", "huggingface", "speculators"]


def layout(raw: Mapping[str, Any], names: Collection[str]) -> Layout:
    """The layout that a checkpoint has."""
    if speculators.described(raw):
        return "speculators"
    return "sglang" if any(foreign.LAYER in name for name in names) else "huggingface"


def config_of(raw: Mapping[str, Any], names: Collection[str] | None = None) -> Eagle3Config:
    """What a config.json of any layout says, of a checkpoint with tensors of these names where they are known.

    Raises:
        ConfigError: another architecture, or a variant of EAGLE3 that is not supported.
    """
    return Eagle3Config.from_hf(speculators.to_sglang(raw) if speculators.described(raw) else raw, names)


def _dtype(tensors: Mapping[str, Tensor]) -> str:
    return short_name(next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()))


def _config(raw: Mapping[str, Any], tensors: Mapping[str, Tensor], to: str) -> dict[str, Any]:
    """A configuration that is one of that layout already stays as it is, but for what SGLang would read otherwise.

    That is the size by which it takes the target's head or the draft's own, whatever tensors there are.
    """
    config = config_of(raw, tensors)
    described = speculators.described(raw)
    if described and to == "speculators":
        return dict(raw)
    if to == "speculators":
        return speculators.of_config(config, _dtype(tensors))
    found = config.to_hf(_dtype(tensors))
    if not described:
        return {**raw, "draft_vocab_size": found["draft_vocab_size"]}
    # What names no layers must not say that there are none.
    return found if config.aux_layers else {name: value for name, value in found.items() if name != "eagle_config"}


def converted(
    raw: Mapping[str, Any], tensors: Mapping[str, Tensor], to: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint in another layout.

    Raises:
        ConfigError: there is no such layout, or it cannot say what the checkpoint says.
    """
    if to not in get_args(Layout):
        message = f"EAGLE3 has no layout {to!r:.60}: there are {', '.join(get_args(Layout))}"
        raise ConfigError(message)
    ours = foreign.renamed(tensors)
    layer = foreign.LAYER if to == "sglang" else foreign.LAYER_OF_LLAMA
    named = {
        layer + name.removeprefix(foreign.LAYER) if name.startswith(foreign.LAYER) else name: tensor
        for name, tensor in ours.items()
    }
    if to == "speculators":
        named = {speculators.tensor(name): tensor for name, tensor in named.items()}
    return _config(raw, ours, to), named
