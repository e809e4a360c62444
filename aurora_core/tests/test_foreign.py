"""Drafts of others: read where they compute what is computed here, and refused by name where they do not."""

import json

import pytest
import torch
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.errors import WeightsError
from aurora_core.models import rope
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
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}


def published(folder, config=None, tensors=lambda found: found, vocabulary=IDS, shape=None):
    """A draft as its authors published it: edits of one that is written here."""
    raw = CONFIG | {"draft_vocab_size": len(vocabulary)} | (shape or {})
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
        {"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0, "attention_factor": None}},
        {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "mrope_interleaved": True}},
        {"eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 3], "use_aux_hidden_state": True,
                          "use_input_layernorm_in_first_layer": True, "use_last_layernorm": True,
                          "use_mtp_layernorm": False, "next_layer_regular": True, "parallel_draft_step": 1,
                          "parallel_draft_heads_num_layers": 1}},
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
        ({"norm_output": 1}, "norm_output"),
        ({"fc_norm": [True]}, "fc_norm"),
        ({"use_aux_norm": "yes"}, "use_aux_norm"),
        ({"eagle_config": {"fc_norm": True}}, "eagle_config.fc_norm"),
        ({"eagle_config": {"norm_output": True}}, "eagle_config.norm_output"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_hidden_layers": 17}, "num_hidden_layers is 17: drafts of up to 16 layers"),
        ({"num_hidden_layers": 2}, "it lacks layers.1.hidden_norm.weight, layers.1.self_attn.q_proj.weight"),
        ({"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
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
        ({"eagle_config": {"norm_before_fc": 1}}, "norm_before_fc"),
        ({"eagle_config": {"use_input_layernorm_in_first_layer": False}}, "use_input_layernorm_in_first_layer False"),
        ({"eagle_config": {"use_last_layernorm": False}}, "use_last_layernorm False"),
        ({"eagle_config": {"use_mtp_layernorm": True}}, "use_mtp_layernorm True"),
        ({"eagle_config": {"next_layer_regular": False}}, "next_layer_regular False"),
        ({"eagle_config": {"parallel_draft_step": 4}}, "parallel_draft_step 4"),
        ({"eagle_config": {"eagle_aux_hidden_state_layer_ids": [1]}}, "fed by one layer"),
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
        ({"rope_scaling": YARN | {"attention_factor": 1.0}}, "attention_factor"),
        ({"rope_scaling": YARN | {"attn_factor": 2.0}}, "attn_factor"),
        ({"rope_scaling": YARN | {"extrapolation_factor": 0.5}}, "extrapolation_factor"),
        ({"rope_scaling": YARN | {"mscale": 0, "mscale_all_dim": 1.0}}, "mscale is 0"),
        ({"rope_scaling": YARN | {"truncate": 1}}, "truncate is 1"),
        ({"rope_scaling": {"type": "default", "alpha": 1000.0}}, "alpha"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor is 0"),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, "factor is 0.5"),
        ({"rope_scaling": {"type": "linear", "factor": "8"}}, "factor is '8'"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "factor is nan"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": -1.0}}, "rope_theta is -1.0"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": True}}, "rope_theta is True"),
        ({"rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 1.0}},
         "high_freq_factor 1.0 is not above"),
        ({"architectures": ["Qwen3ForCausalLMEagle3"]}, "Qwen3ForCausalLMEagle3"),
    ],
)  # fmt: skip
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


@pytest.mark.parametrize("gone", ["norm.weight", "midlayer.mlp.up_proj.weight"])
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


@pytest.mark.parametrize(
    ("edited", "words"),
    [
        (
            lambda t: {"layers.0.mlp.up_proj.weight": t["midlayer.mlp.up_proj.weight"].clone()},
            "twice, under two names: midlayer.mlp.up_proj.weight",
        ),
        (lambda t: {"model.norm.weight": t["norm.weight"].clone()}, "twice, under two names: norm.weight"),
        (
            lambda t: {"norm.weight": t["norm.weight"] * float("nan")},
            "norm.weight has numbers that are NaN or infinite",
        ),
        (
            lambda t: {"norm.weight": t["norm.weight"].double() * 1e300},
            "norm.weight has numbers that are NaN or infinite",
        ),
    ],
)
def test_tensors_that_are_ambiguous_or_no_numbers_are_refused_by_name(tmp_path, edited, words):
    published(tmp_path, tensors=lambda found: found | edited(found))
    with pytest.raises(WeightsError, match=words):
        checkpoint.read(tmp_path, "EAGLE3")


def test_a_mask_that_leaves_out_tokens_without_a_map_is_refused(tmp_path):
    def edited(found):
        return {name: t for name, t in found.items() if name != "d2t"} | {"t2d": torch.arange(64) % 2 == 0}

    published(tmp_path, {"draft_vocab_size": None}, edited, torch.arange(64))
    with pytest.raises(WeightsError, match="t2d leaves out tokens"):
        checkpoint.read(tmp_path, "EAGLE3")


def split(folder, *, twice=False, stale=False, gone=False, index=True):
    """A draft's one file as two, with the index that names them."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:6], "model-00002-of-00002.safetensors": names[6:]}
    for name, inside in parts.items():
        more = {names[0]: tensors[names[0]]} if twice else {}
        save_file({one: tensors[one] for one in inside} | more, folder / name)
    if stale:
        save_file({names[7]: torch.zeros_like(tensors[names[7]])}, folder / "model-00003-of-00003.safetensors")
    if gone:
        (folder / "model-00002-of-00002.safetensors").unlink()
    if index:
        named = {one: name for name, inside in parts.items() for one in inside}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}))


def test_of_several_files_those_count_that_the_index_names(tmp_path):
    draft = published(tmp_path)
    split(tmp_path, stale=True)
    assert same(checkpoint.read(tmp_path, "EAGLE3"), draft)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"gone": True}, "lacks model-00002-of-00002.safetensors, which model.safetensors.index.json names"),
        ({"twice": True}, "is in .*model-00001-of-00002.safetensors and in model-00002-of-00002.safetensors"),
        ({"stale": True, "index": False}, "and in model-00003-of-00003.safetensors"),
    ],
)
def test_files_that_are_missing_or_ambiguous_are_named(tmp_path, how, words):
    published(tmp_path)
    split(tmp_path, **how)
    with pytest.raises(WeightsError, match=words):
        checkpoint.read(tmp_path, "EAGLE3")


@pytest.mark.parametrize(
    "index", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": []}}']
)
def test_an_index_that_is_none_is_named(tmp_path, index):
    published(tmp_path)
    split(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(WeightsError, match=r"model.safetensors.index.json"):
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
    assert config.rope_parameters["rope_type"] in rope.KEYS
