"""Drafts of others: read where they compute what is computed here, and refused by name where they do not."""

import json

import pytest
import torch
from aurora_core.drafts.eagle3.draft import Eagle3Config, Eagle3Draft
from aurora_core.drafts.published import ROPES
from aurora_core.errors import WeightsError
from aurora_core.weights import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

CONFIG = {
    "architectures": ["LlamaForCausalLMEagle3"],
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "draft_vocab_size": 16,
    "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 3]},
}
IDS = torch.arange(0, 64, 4)


def published(folder, config=None, tensors=lambda found: found, vocabulary=IDS):
    """A draft as its authors published it: edits of one that is written here."""
    raw = CONFIG | {"draft_vocab_size": len(vocabulary)}
    draft = Eagle3Draft(Eagle3Config.from_hf(raw))
    torch.manual_seed(1)
    for weight in draft.parameters():
        torch.nn.init.normal_(weight)
    draft.set_vocabulary(vocabulary)
    checkpoint.write(folder, draft, torch.float32)
    (folder / "config.json").write_text(json.dumps(raw | (config or {})))
    save_file(tensors(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    return draft


def same(one, other):
    mine, its = one.state_dict(), other.state_dict()
    return mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "qwen2", "torch_dtype": "float16", "transformers_version": "4.51.0", "bos_token_id": 1},
        {"tie_word_embeddings": False, "attention_bias": False, "hidden_act": "silu", "num_hidden_layers": 1},
        {"use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 28, "rope_scaling": None},
        {"target_hidden_size": None, "num_key_value_heads": 2, "rms_norm_eps": None, "rope_theta": None},
        {"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}},
        {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 8192}},
        {"something_new": None, "something_else": False, "pruned_heads": {}},
    ],
)  # fmt: skip
def test_what_leaves_the_arithmetic_as_it_is_passes(tmp_path, config):
    draft = published(tmp_path, config)
    assert same(checkpoint.read(tmp_path, "EAGLE3"), draft)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"norm_before_residual": True}, "norm_before_residual"),
        ({"norm_output": True}, "norm_output"),
        ({"fc_norm": True}, "fc_norm"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_hidden_layers": 2}, "num_hidden_layers"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings"),
        ({"attention_bias": True}, "attention_bias"),
        ({"use_sliding_window": True, "sliding_window": 128}, "use_sliding_window"),
        ({"layer_types": ["sliding_attention"], "sliding_window": 128}, "layer_types"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_is_neox_style": False}, "rope_is_neox_style"),
        ({"num_aux_hidden_states": 1}, "num_aux_hidden_states"),
        ({"num_aux_hidden_states": [3]}, "num_aux_hidden_states"),
        ({"eagle_config": {"num_aux_hidden_states": 4}}, "num_aux_hidden_states"),
        ({"eagle_config": {"use_aux_hidden_state": False}}, "use_aux_hidden_state"),
        ({"eagle_config": {"norm_before_fc": True}}, "norm_before_fc"),
        ({"eagle_config": {"eagle_aux_hidden_state_layer_ids": ["1", "2", "3"]}}, "eagle_aux_hidden_state_layer_ids"),
        ({"an_idea_of_next_year": 3}, "an_idea_of_next_year"),
        ({"target_hidden_size": 64}, "target_hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"num_attention_heads": "4"}, "num_attention_heads"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2.0}}}, "full_attention"),
        ({"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"num_key_value_heads": 3}, "3 key heads"),
        ({"head_dim": 5}, "head_dim 5"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "partial_rotary_factor": 0.5}}, "partial_rotary"),
        ({"architectures": ["Qwen3ForCausalLMEagle3"]}, "Qwen3ForCausalLMEagle3"),
    ],
)
def test_what_would_compute_something_else_is_refused_by_name(tmp_path, config, name):
    published(tmp_path, config)
    with pytest.raises(WeightsError, match=name):
        checkpoint.read(tmp_path, "EAGLE3")


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("midlayer.", "layers.0."),
        lambda name: "model." + name.replace("midlayer.", "layers.0."),
        lambda name: "model." + name,
    ],
)
def test_other_names_of_the_same_tensors_are_known(tmp_path, rename):
    draft = published(tmp_path, tensors=lambda found: {rename(name): tensor for name, tensor in found.items()})
    assert same(checkpoint.read(tmp_path, "EAGLE3"), draft)


def test_an_embedding_of_its_own_is_the_target_s_and_a_missing_mask_is_made(tmp_path):
    def edited(found):
        return {name: t for name, t in found.items() if name != "t2d"} | {"embed_tokens.weight": torch.zeros(64, 32)}

    draft = published(tmp_path, tensors=edited)
    assert same(checkpoint.read(tmp_path, "EAGLE3"), draft)


@pytest.mark.parametrize("gone", ["lm_head.weight", "norm.weight", "midlayer.mlp.up_proj.weight"])
def test_what_a_draft_over_the_full_vocabulary_lacks_is_named(tmp_path, gone):
    published(
        tmp_path,
        {"draft_vocab_size": None},
        lambda found: {name: t for name, t in found.items() if name not in {gone, "d2t", "t2d"}},
        torch.arange(64),
    )
    with pytest.raises(WeightsError, match=gone):
        checkpoint.read(tmp_path, "EAGLE3")


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ({"d2t": IDS}, "must hold offsets"),
        ({"d2t": torch.arange(16) * 4}, "must hold offsets|not in ascending|ascending"),
        ({"d2t": torch.full((16,), -5)}, "must hold offsets"),
        ({"d2t": -torch.arange(16)}, "ascending"),
        ({"d2t": (IDS - torch.arange(16)).bfloat16()}, "integers"),
        ({"d2t": (IDS - torch.arange(16))[None]}, "integers"),
        ({"t2d": torch.ones(64, dtype=torch.bool)}, "different tokens"),
        ({"t2d": torch.zeros(32, dtype=torch.bool)}, "different tokens"),
    ],
)
def test_a_map_that_is_none_is_refused(tmp_path, maps, words):
    published(tmp_path, tensors=lambda found: found | maps)
    with pytest.raises(WeightsError, match=words):
        checkpoint.read(tmp_path, "EAGLE3")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)
@given(JSON)
def test_no_json_ends_with_a_traceback(body):
    with pytest.raises(WeightsError):
        checkpoint.parse_config(json.dumps(body).encode(), "EAGLE3", "config.json")


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from([*CONFIG, "rope_scaling", "rope_parameters", "head_dim", "hidden_act"]), JSON))
def test_no_value_of_a_known_key_does_either(changes):
    try:
        config = checkpoint.parse_config(json.dumps(CONFIG | changes).encode(), "EAGLE3", "config.json")
    except WeightsError:
        return
    assert config.hidden_size > 0
    assert config.rope_parameters["rope_type"] in ROPES
