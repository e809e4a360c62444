"""How the checkpoints of each architecture are read: names, norms, head, and the shape of a draft that fits.

One row for each architecture that is known, by the name that ``config.json`` gives and SGLang dispatches on. What has
no row is refused: a reading by analogy would find some tensor and train on the wrong one.
"""

from dataclasses import dataclass
from typing import Any, Literal

from aurora_core.errors import ConfigError

Shape = Literal["dense", "experts", "latent"]


@dataclass(frozen=True)
class Family:
    """How one architecture's checkpoints are read.

    Attributes:
        model_type: the configuration class of transformers that fills in what ``config.json`` leaves out.
        nested: whether the text model's configuration is ``text_config`` of a wrapper's.
        tied_by_wrapper: whether ``tie_word_embeddings`` is read of the wrapper, as SGLang does.
        prefixes: what may stand before ``embed_tokens.weight``, ``norm.weight`` and ``layers.0.``.
        heads: names that the head may have.
        norm_offset: what is added to a norm's stored weight; 1 where the checkpoint stores w of (1 + w).
        mlp_norm: the norm of a layer that its MLP reads through.
        embedding_scaled: whether the target multiplies embeddings by the root of its width; SGLang gives drafts the
            table without it.
        shape: what a new draft's shape comes from. ``dense``: the target's attention and MLP. ``experts``: its
            attention, and an MLP as wide as the experts of one token, as the configuration has no other. ``latent``:
            its width alone, as latent attention has no key heads.
        last_boundary: whether SGLang takes the number of layers itself as an auxiliary layer: the last one's output.
    """

    model_type: str
    nested: bool = False
    tied_by_wrapper: bool = False
    prefixes: tuple[str, ...] = ("model.",)
    heads: tuple[str, ...] = ("lm_head.weight",)
    norm_offset: float = 0.0
    mlp_norm: str = "post_attention_layernorm"
    embedding_scaled: bool = False
    shape: Shape = "dense"
    last_boundary: bool = False


_WRAPPED = ("model.language_model.", "language_model.model.")
_WRAPPED_HEADS = ("lm_head.weight", "language_model.lm_head.weight")

FAMILIES = {
    "LlamaForCausalLM": Family("llama"),
    "MistralForCausalLM": Family("mistral"),
    "Qwen2ForCausalLM": Family("qwen2"),
    "Qwen3ForCausalLM": Family("qwen3"),
    "Qwen3MoeForCausalLM": Family("qwen3_moe"),
    "Qwen3NextForCausalLM": Family("qwen3_next", norm_offset=1.0),
    "GptOssForCausalLM": Family("gpt_oss", shape="experts", last_boundary=True),
    "Glm4MoeForCausalLM": Family("glm4_moe"),
    "MiniMaxM2ForCausalLM": Family("minimax_m2", shape="experts"),
    "Gemma3ForCausalLM": Family(
        "gemma3_text", norm_offset=1.0, mlp_norm="pre_feedforward_layernorm", embedding_scaled=True
    ),
    "Gemma3ForConditionalGeneration": Family(
        "gemma3_text",
        nested=True,
        prefixes=_WRAPPED,
        heads=_WRAPPED_HEADS,
        norm_offset=1.0,
        mlp_norm="pre_feedforward_layernorm",
        embedding_scaled=True,
    ),
    "DeepseekV3ForCausalLM": Family("deepseek_v3", shape="latent"),
    "KimiK25ForConditionalGeneration": Family(
        "deepseek_v3", nested=True, prefixes=_WRAPPED, heads=_WRAPPED_HEADS, shape="latent"
    ),
    "Qwen3VLForConditionalGeneration": Family(
        "qwen3_vl_text", nested=True, tied_by_wrapper=True, prefixes=_WRAPPED, heads=_WRAPPED_HEADS
    ),
    "Qwen3VLMoeForConditionalGeneration": Family(
        "qwen3_vl_moe_text", nested=True, tied_by_wrapper=True, prefixes=_WRAPPED, heads=_WRAPPED_HEADS
    ),
}


def family(raw: dict[str, Any]) -> Family:
    """The row of a target's ``config.json``.

    Raises:
        ConfigError: the architecture has none, or its logits are scaled in a way that is not known here.
    """
    given = raw.get("architectures")
    named = [name for name in given if isinstance(name, str)] if isinstance(given, list) else []
    found = next((FAMILIES[name] for name in named if name in FAMILIES), None)
    if found is None:
        message = (
            f"the target's architecture is {', '.join(named) or 'not named'} (model_type {raw.get('model_type')}), "
            f"and how its head, embedding and norms are stored is not known here: known are {', '.join(FAMILIES)}; "
            "docs/targets.md says what another one needs"
        )
        raise ConfigError(message)
    for key in ("logit_scale", "logits_scaling", "lm_head_multiplier"):
        value = raw.get(key) or text_of(raw).get(key)
        if value not in (None, 1, 1.0):
            raise ConfigError(f"the target scales its logits ({key} {value}), which is not known of {named[0]}")
    return found


def text_of(raw: dict[str, Any]) -> dict[str, Any]:
    """The text model's part of ``config.json``."""
    text: dict[str, Any] = raw.get("text_config") or raw
    return text
