"""Tiny random targets of every family that is known, as transformers makes and saves them."""

import json
import math

import torch
import transformers
from safetensors.torch import load_file, save_file

VOCAB, HIDDEN, LAYERS = 160, 64, 7
BASE = {
    "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 1024,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LINEAR = {
    "shared_expert_intermediate_size": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"] * 2 + ["full_attention"],
}  # fmt: skip
LATENT = {
    "num_key_value_heads": 4, "moe_intermediate_size": 32, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "n_group": 2, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1, "q_lora_rank": 32,
    "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "rope_theta": 150000.0, "factor": 4.0, "original_max_position_embeddings": 256,
    "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
}  # fmt: skip
DEEPSEEK_YARN = {**YARN, "truncate": True, "mscale": 1.0, "mscale_all_dim": 1.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}  # fmt: skip
VISION = {
    "depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": HIDDEN,
    "deepstack_visual_indexes": [0], "num_position_embeddings": 16,
}  # fmt: skip
SIGLIP = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
MROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [6, 5, 5], "mrope_interleaved": True}

TEXT = {
    "llama": ("LlamaConfig", {**BASE, "rope_parameters": LLAMA3}),
    "mistral": ("MistralConfig", BASE),
    "qwen2": ("Qwen2Config", {**{k: v for k, v in BASE.items() if k != "head_dim"}, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {**BASE, "tie_word_embeddings": True}),
    "qwen3_untied": ("Qwen3Config", BASE),
    "qwen3_moe": ("Qwen3MoeConfig", {**BASE, **EXPERTS}),
    "qwen3_next": ("Qwen3NextConfig", {**BASE, **EXPERTS, **LINEAR}),
    "gpt_oss": (
        "GptOssConfig",
        {**BASE, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 32, "rope_parameters": YARN},
    ),
    "glm4_moe": (
        "Glm4MoeConfig",
        {**BASE, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1,
         "topk_group": 1, "first_k_dense_replace": 1, "use_qk_norm": True},
    ),
    "minimax_m2": ("MiniMaxM2Config", {**BASE, "num_local_experts": 4, "num_experts_per_tok": 2, "rotary_dim": 16}),
    "gemma3": ("Gemma3TextConfig", {**BASE, "sliding_window": 32, "final_logit_softcapping": 3.0}),
    "deepseek_v3": (
        "DeepseekV3Config",
        {**{k: v for k, v in BASE.items() if k != "head_dim"}, **LATENT, "rope_parameters": DEEPSEEK_YARN},
    ),
}  # fmt: skip
WRAPPED = {
    "gemma3_wrapped": (
        "Gemma3Config",
        {"text_config": {**BASE, "sliding_window": 32}, "vision_config": SIGLIP, "mm_tokens_per_image": 4},
    ),
    "qwen3_vl": (
        "Qwen3VLConfig",
        {"text_config": {**BASE, "rope_parameters": MROPE}, "vision_config": VISION, "tie_word_embeddings": False},
    ),
    "qwen3_vl_moe": (
        "Qwen3VLMoeConfig",
        {"text_config": {**BASE, **EXPERTS, "rope_parameters": MROPE}, "vision_config": VISION},
    ),
}  # fmt: skip
NAMES = (*TEXT, *WRAPPED)


def make(name):
    """A model in fp32 with norms and weights that cannot be confused: none is one, none is zero."""
    config, arguments = {**TEXT, **WRAPPED}[name]
    torch.manual_seed(0)
    kind = transformers.AutoModelForCausalLM if name in TEXT else transformers.AutoModelForImageTextToText
    model = kind.from_config(getattr(transformers, config)(**arguments), dtype=torch.float32).eval()
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * 0.1)
            else:
                weight.copy_(torch.randn_like(weight) * (0.6 if "embed" in weight_name else weight.shape[-1] ** -0.5))
    return model


def text_model(model):
    """The part that has layers, embedding and final norm."""
    inner = model.model
    return getattr(inner, "language_model", inner)


def edit(folder, *, config=None, tensors=None):
    """Change a saved checkpoint: its config.json, and its tensors by a function of all of them."""
    if config is not None:
        raw = json.loads((folder / "config.json").read_text())
        config(raw)
        (folder / "config.json").write_text(json.dumps(raw))
    if tensors is not None:
        changed = tensors(load_file(folder / "model.safetensors"))
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


def as_fp8(weight, block):
    """A weight in FP8 and its scales: of each block, or of each row where ``block`` is None."""
    rows, columns = weight.shape
    high, wide = block or (1, columns)
    padded = torch.zeros(math.ceil(rows / high) * high, math.ceil(columns / wide) * wide)
    padded[:rows, :columns] = weight
    tiles = padded.view(padded.shape[0] // high, high, padded.shape[1] // wide, wide)
    scale = tiles.abs().amax((1, 3)).clamp(min=1e-6) / 448
    stored = (tiles / scale[:, None, :, None]).view_as(padded)[:rows, :columns].to(torch.float8_e4m3fn)
    return stored.contiguous(), scale
