"""Configurations of speculators, the format of vLLM's drafts, from and to those that SGLang reads.

A decoder layer is described as a configuration of transformers, which leaves out what is Llama's default. Auxiliary
layers are counted by what lies between layers: 0 is the embedding's output and 1 the first layer's, which is layer 0
here. Without ``norm_before_residual`` readers disagree on what the layer computes, so that it must be there.
"""

from collections.abc import Mapping
from typing import Any

from transformers import LlamaConfig

from aurora_core.drafts.eagle3.config import ARCHITECTURE as OF_SGLANG
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.errors import ConfigError

ARCHITECTURE = "Eagle3Speculator"
_LAYERS = "eagle_aux_hidden_state_layer_ids"
_STATES = 3
"""Auxiliary hidden states of every such draft."""
_OWN = frozenset(
    {
        "architectures", "transformer_layer_config", "speculators_model_type", "speculators_version",
        "speculators_config", "norm_before_residual", "embed_requires_grad", _LAYERS, "has_no_defaults_at_init",
    }
)  # fmt: skip
_DEFAULTS = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "rms_norm_eps",
    "max_position_embeddings",
)  # fmt: skip


def described(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json is one of speculators."""
    return "speculators_model_type" in raw


def to_sglang(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same configuration as SGLang's drafts have it; whatever is unknown stays in it, for others to refuse.

    Args:
        raw: config.json of speculators.

    Raises:
        ConfigError: it is of another kind of draft, or does not say what it computes.
    """
    layer = raw.get("transformer_layer_config")
    if raw["speculators_model_type"] != "eagle3" or not isinstance(layer, Mapping):
        message = f"speculators_model_type is {raw['speculators_model_type']!r:.60}: expected eagle3, with a layer"
        raise ConfigError(message)
    if layer.get("model_type", "llama") != "llama":
        message = f"its layer is of model_type {layer['model_type']!r:.60}: only llama's is supported"
        raise ConfigError(message)
    if raw.get("norm_before_residual") is not False:
        message = f"norm_before_residual is {raw.get('norm_before_residual')!r:.60}: only false is supported"
        raise ConfigError(message)
    layers = raw.get(_LAYERS)
    if layers is not None and not (isinstance(layers, list) and all(type(found) is int for found in layers)):
        message = f"{_LAYERS} are {layers!r:.60}, not integers"
        raise ConfigError(message)
    default = LlamaConfig().to_dict()
    filled = {name: default[name] for name in _DEFAULTS if layer.get(name) is None}
    eagle = {"eagle_config": {"use_aux_hidden_state": True, _LAYERS: [found - 1 for found in layers]}} if layers else {}
    rest = {name: value for name, value in raw.items() if name not in _OWN}
    return {**layer, **filled, **rest, **eagle, "architectures": [OF_SGLANG]}


def tensor(name: str) -> str:
    """The name there of a tensor that a Llama of transformers would have, or SGLang: layers after the first differ."""
    layer, dot, part = name.partition(".hidden_norm.")
    return f"{layer}.input_layernorm.{part}" if dot and layer.startswith("layers.") and layer != "layers.0" else name


def of_config(config: Eagle3Config, dtype: str) -> dict[str, Any]:
    """A draft's configuration as speculators has it; the target is not named.

    Raises:
        ConfigError: it is fed by another number of layers than all drafts there, or has norms that exclude each other.
    """
    layers = config.aux_layers
    if layers and len(layers) != _STATES:
        message = f"a draft of speculators is fed by {_STATES} layers of its target, and this one by {len(layers)}"
        raise ConfigError(message)
    if config.norm_before_fc and config.fc_norm:
        message = "a draft of speculators has norm_before_fc or fc_norm, and this one has both"
        raise ConfigError(message)
    return {
        "architectures": [ARCHITECTURE],
        "speculators_model_type": "eagle3",
        "speculators_config": {
            "algorithm": "eagle3",
            "default_proposal_method": "greedy",
            "proposal_methods": [{"proposal_type": "greedy", "speculative_tokens": 3}],
            "verifier": {"name_or_path": None, "architectures": []},
        },
        "transformer_layer_config": {
            "model_type": "llama",
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_attention_heads": config.num_attention_heads,
            "num_key_value_heads": config.num_key_value_heads,
            "head_dim": config.head_dim,
            "num_hidden_layers": config.num_hidden_layers,
            "vocab_size": config.vocab_size,
            "rms_norm_eps": config.rms_norm_eps,
            "max_position_embeddings": config.max_position_embeddings,
            "rope_parameters": config.rope_parameters,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": False,
        },
        "draft_vocab_size": config.draft_vocab_size,
        "target_hidden_size": config.target_hidden_size,
        "norm_before_residual": False,
        "norm_before_fc": config.norm_before_fc,
        # Older readers of the format do not know these two.
        **({"fc_norm": True} if config.fc_norm else {}),
        **({"norm_output": True} if config.norm_output else {}),
        "tie_word_embeddings": False,
        _LAYERS: [layer + 1 for layer in layers] or None,
        "torch_dtype": dtype,
    }
