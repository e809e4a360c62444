"""Drafts of others with more than EAGLE3's first layout: what they say of themselves, and what is written of them."""

import json
import re
from dataclasses import replace

import pytest
import torch
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.errors import WeightsError
from aurora_core.weights import checkpoint
from aurora_core.weights.loaded import Loaded
from test_foreign import CONFIG, published, same

NORMS = {"norm_before_fc": True, "fc_norm": True, "norm_output": True}


def older(found):
    """The names of the states' norms before there was a list of them."""
    new = {f"fc_norm.{i}.": f"aux_norm_{name}." for i, name in enumerate(("low", "mid", "high"))}
    return {next((new[k] + n.removeprefix(k) for k in new if n.startswith(k)), n): t for n, t in found.items()}


@pytest.mark.parametrize(
    ("config", "tensors"),
    [
        (NORMS, lambda found: found),
        ({"fc_norm": None, "use_aux_norm": True, "norm_before_fc": True, "norm_output": True}, older),
        (NORMS | {"eagle_config": CONFIG["eagle_config"] | {"norm_before_fc": True}, "norm_before_fc": False},
         lambda found: found),
    ],
)  # fmt: skip
def test_norms_of_eagle_3_1_are_read_from_where_sglang_does(tmp_path, config, tensors):
    draft = published(tmp_path, config, tensors, shape=NORMS)
    assert {"input_norm.weight", "fc_norm.2.weight"} <= draft.state_dict().keys()
    found = checkpoint.read(tmp_path, "EAGLE3")
    assert same(found, draft)
    assert found.config == draft.config
    again = tmp_path / "again"
    again.mkdir()
    checkpoint.write(again, found, torch.float32)
    assert same(checkpoint.read(again, "EAGLE3"), draft)
    assert checkpoint.read(again, "EAGLE3").config == draft.config


@pytest.mark.parametrize(
    ("shape", "config", "words"),
    [
        ({}, {"norm_before_fc": True}, "it lacks input_norm.weight"),
        ({}, {"fc_norm": True}, "it lacks fc_norm.0.weight, fc_norm.1.weight, fc_norm.2.weight"),
        ({"fc_norm": True}, {"fc_norm": False}, "tensors that EAGLE3 does not: fc_norm.0.weight"),
        (NORMS, {"eagle_config": CONFIG["eagle_config"] | {"norm_before_fc": False}}, "does not: input_norm.weight"),
    ],
)
def test_norms_without_their_weights_and_weights_without_their_norms_are_named(tmp_path, shape, config, words):
    published(tmp_path, config, shape=shape)
    with pytest.raises(WeightsError, match=words):
        checkpoint.read(tmp_path, "EAGLE3")


@pytest.mark.parametrize("size", [None, ..., 64])
@pytest.mark.parametrize("gone", [("lm_head.weight", "d2t", "t2d"), ("lm_head.weight",), ("lm_head.weight", "d2t")])
def test_a_draft_without_a_head_uses_its_target_s(tmp_path, size, gone):
    draft = published(
        tmp_path, tensors=lambda found: {n: t for n, t in found.items() if n not in gone}, vocabulary=torch.arange(64)
    )
    raw = CONFIG | {"draft_vocab_size": size}
    (tmp_path / "config.json").write_text(json.dumps({name: one for name, one in raw.items() if one is not ...}))
    found = checkpoint.read(tmp_path, "EAGLE3")
    assert found.head is None
    assert found.ids.tolist() == list(range(64))
    assert found.state_dict().keys() == draft.state_dict().keys() - {"lm_head.weight", "d2t", "t2d"}
    again = tmp_path / "again"
    again.mkdir()
    checkpoint.write(again, found, torch.float32)
    # Without this key SGLang fails, and with a number it makes a head of its own.
    assert json.loads((again / "config.json").read_text())["draft_vocab_size"] is None
    assert same(checkpoint.read(again, "EAGLE3"), found)
    written = checkpoint.parse_config((again / "config.json").read_bytes(), "EAGLE3", "config.json")
    assert written == found.config == replace(draft.config, shared_head=True)


def test_a_head_over_the_full_vocabulary_stays_the_draft_s_own(tmp_path):
    draft = published(tmp_path, {"draft_vocab_size": None}, vocabulary=torch.arange(64))
    found = checkpoint.read(tmp_path, "EAGLE3")
    assert same(found, draft)
    assert found.config.to_hf("float32")["draft_vocab_size"] == 64


@pytest.mark.parametrize(
    ("config", "gone", "words"),
    [
        (
            {},
            ("lm_head.weight",),
            "it lacks lm_head.weight; a head that is shared with the target has the target's full",
        ),
        ({"draft_vocab_size": None}, ("lm_head.weight",), "it has no head, and d2t of 16 tokens of 64"),
    ],
)
def test_no_head_and_a_vocabulary_of_its_own_is_refused(tmp_path, config, gone, words):
    published(tmp_path, config, lambda found: {n: t for n, t in found.items() if n not in gone})
    with pytest.raises(WeightsError, match=words):
        checkpoint.read(tmp_path, "EAGLE3")


def test_an_engine_never_swaps_a_head_into_its_target_s(tmp_path):
    own = published(tmp_path, vocabulary=torch.arange(64))
    shared = Eagle3Draft(replace(own.config, shared_head=True))
    with pytest.raises(WeightsError, match="differs in draft_vocab_size: None -> 64; only a restart"):
        Loaded.of(own, 1).check(Loaded.of(shared, 0), "version 1")


THREE = {"num_hidden_layers": 3}


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: name.replace("midlayer.", "layers.0."),
        lambda name: "model." + name.replace("midlayer.", "layers.0."),
        # As in speculators, whose later layers are those of a Llama.
        lambda name: re.sub(r"(layers\.[12]\.)hidden_norm", r"\1input_layernorm", name),
    ],
)
def test_several_layers_are_read_under_the_names_that_others_use(tmp_path, rename):
    def edited(found):
        return {rename(name): tensor for name, tensor in found.items()}

    draft = published(tmp_path, {"layer_types": ["full_attention"] * 3}, edited, shape=THREE)
    found = checkpoint.read(tmp_path, "EAGLE3")
    assert same(found, draft)
    assert {name.split(".")[1] for name in found.state_dict() if name.startswith("layers.")} == {"1", "2"}
    again = tmp_path / "again"
    again.mkdir()
    checkpoint.write(again, found, torch.float32)
    assert checkpoint.read(again, "EAGLE3").config == found.config == draft.config


@pytest.mark.parametrize(
    ("config", "edited", "words"),
    [
        (
            {},
            lambda t: t | {"layers.1.input_layernorm.weight": t["layers.1.hidden_norm.weight"].clone()},
            "twice, under two names: layers.1.hidden_norm.weight",
        ),
        ({"num_hidden_layers": 2}, lambda t: t, "tensors that EAGLE3 does not: layers.2.hidden_norm.weight"),
        ({"num_hidden_layers": 4}, lambda t: t, "it lacks layers.3.hidden_norm.weight"),
    ],
)
def test_layers_that_are_ambiguous_too_many_or_too_few_are_named(tmp_path, config, edited, words):
    published(tmp_path, config, edited, shape=THREE)
    with pytest.raises(WeightsError, match=words):
        checkpoint.read(tmp_path, "EAGLE3")
