"""A draft in another layout is the same draft, bit by bit, or there is none."""

import json

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.drafts.eagle3 import speculators
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint, conversion
from command_line import run
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

LAYOUTS = ("sglang", "huggingface", "speculators")
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


@pytest.fixture
def source(tmp_path, target):
    folder = tmp_path / "source"
    folder.mkdir()
    checkpoint.write(folder, first_draft(DraftConfig(draft_vocab_size=40), target, 0))
    return folder


def edit(folder, tensors=lambda found: found, **changes):
    raw = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in raw.items() if value is not ...}))
    save_file(tensors(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def converts(folder, to):
    out = folder.with_name(f"{len(list(folder.parent.iterdir()))}.{to}")
    status, _, err = run("convert", folder, "--to", to, "--out", out)
    assert (status, err) == (0, "")
    return out


def same(one, other):
    mine, its = (load_file(folder / "model.safetensors") for folder in (one, other))
    return mine.keys() == its.keys() and all(
        mine[name].dtype == its[name].dtype and torch.equal(mine[name], its[name]) for name in mine
    )


def further(found):
    """A layer after the first: it reads hidden states alone."""
    first = {k.removeprefix("midlayer."): torch.rand_like(v) for k, v in found.items() if k.startswith("midlayer.")}
    halved = {f"self_attn.{name}_proj.weight" for name in "qkv"}
    return {k: v[:, : v.shape[1] // 2].contiguous() if k in halved else v for k, v in first.items() if "input" not in k}


STATES = ("low", "mid", "high")
EDITS = {
    "as it is": {},
    "llama3's rope": {"rope_parameters": LLAMA3, "rope_theta": 500000.0},
    "no layers named": {"eagle_config": ...},
    "fields without meaning": {"bos_token_id": 1, "transformers_version": "4.51.0"},
    "fp16, an embedding, no mask": {
        "tensors": lambda found: {
            **{k: v.half() if v.is_floating_point() else v for k, v in found.items() if k != "t2d"},
            "embed_tokens.weight": torch.zeros(64, 32).half(),
        }
    },
    "a norm of all states": {
        "tensors": lambda found: found | {"input_norm.weight": torch.rand(96).bfloat16()},
        "norm_before_fc": True, "norm_output": True,
    },
    "older norms of each state": {
        "tensors": lambda found: found | {f"aux_norm_{name}.weight": torch.rand(32).bfloat16() for name in STATES},
        "use_aux_norm": True,
    },
    "its target's head": {
        "tensors": lambda found: {k: v for k, v in found.items() if k not in {"lm_head.weight", "d2t", "t2d"}},
        "draft_vocab_size": None,
    },
    "a head of its own, and no size": {
        "tensors": lambda found: (
            {k: v for k, v in found.items() if k not in {"d2t", "t2d"}}
            | {"lm_head.weight": torch.rand(64, 32).bfloat16()}
        ),
        "draft_vocab_size": None,
    },
    "three layers": {
        "tensors": lambda found: found | {f"layers.{n}.{k}": v for n in (1, 2) for k, v in further(found).items()},
        "num_hidden_layers": 3, "layer_types": ["full_attention"] * 3,
    },
    "two types of weights": {"tensors": lambda found: found | {"norm.weight": found["norm.weight"].float()}},
}  # fmt: skip


@pytest.mark.parametrize("edits", EDITS)
@pytest.mark.parametrize("through", LAYOUTS)
@pytest.mark.parametrize("back", LAYOUTS)
def test_there_and_back_is_the_same_draft(source, target, edits, through, back):
    edit(source, **EDITS[edits])
    first, there = converts(source, back), converts(source, through)
    again = converts(there, back)
    assert same(first, again)
    drafts = [first_draft(DraftConfig(checkpoint=str(folder)), target, 0) for folder in (source, there, again)]
    assert drafts[0].config == drafts[1].config == drafts[2].config
    assert all(
        torch.equal(tensor, draft.state_dict()[name])
        for name, tensor in drafts[0].state_dict().items()
        for draft in drafts[1:]
    )
    found = json.loads(run("inspect", there, "--target", target.path, "-o", "json")[1])
    assert (found["layout"], found["problems"]) == (through, [])


def test_between_names_of_one_configuration_nothing_of_it_changes(source):
    edit(source, bos_token_id=7)
    there = converts(source, "huggingface")
    assert json.loads((there / "config.json").read_text()) == json.loads((source / "config.json").read_text())
    assert {name for name in load_file(there / "model.safetensors") if "layers.0." in name}


@pytest.mark.parametrize(
    ("edits", "given", "expected"), [("its target's head", 64, None), ("a head of its own, and no size", None, 64)]
)
def test_the_head_that_sglang_takes_by_the_size_is_that_of_the_tensors(source, edits, given, expected):
    edit(source, **EDITS[edits] | {"draft_vocab_size": given})
    for to in ("sglang", "huggingface"):
        assert json.loads((converts(source, to) / "config.json").read_text())["draft_vocab_size"] == expected


def test_speculators_counts_layers_from_the_embedding(source):
    raw = json.loads((converts(source, "speculators") / "config.json").read_text())
    assert raw["eagle_aux_hidden_state_layer_ids"] == [3, 4, 5]
    assert raw["norm_before_residual"] is False


def test_a_layer_of_transformers_defaults_is_read(source, target):
    there = converts(source, "speculators")
    raw = json.loads((there / "config.json").read_text())
    layer = raw["transformer_layer_config"]
    for name in ("head_dim", "hidden_act", "attention_bias", "mlp_bias", "tie_word_embeddings"):
        del layer[name]
    (there / "config.json").write_text(json.dumps(raw))
    assert run("inspect", there, "--target", target.path)[0] == 0
    del layer["hidden_size"]
    (there / "config.json").write_text(json.dumps(raw | {"target_hidden_size": None}))
    assert "hidden_size of its target is 4096" in run("inspect", there, "--target", target.path)[1]


def test_norms_that_speculators_does_not_have_together_are_named(source):
    norms = {"input_norm.weight": torch.rand(96), **{f"fc_norm.{i}.weight": torch.rand(32) for i in range(3)}}
    edit(source, lambda found: found | norms, norm_before_fc=True, fc_norm=True)
    status, _, err = run("convert", source, "--to", "speculators", "--out", source.with_name("out"))
    assert status == 1
    assert "norm_before_fc or fc_norm, and this one has both" in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_before_residual": True}, "norm_before_residual is True"),
        ({"norm_before_residual": ...}, "norm_before_residual is None"),
        ({"norm_before_fc": 1}, "norm_before_fc 1"),
        ({"norm_before_fc": True}, "it lacks input_norm.weight"),
        ({"fc_norm": True}, "it lacks fc_norm.0.weight"),
        ({"an_idea_of_next_year": 1}, "an_idea_of_next_year 1"),
        ({"speculators_model_type": "dflash"}, "speculators_model_type is 'dflash'"),
        ({"transformer_layer_config": None}, "expected eagle3, with a layer"),
        ({"transformer_layer_config": {"model_type": "qwen3"}}, "model_type 'qwen3'"),
        ({"transformer_layer_config": {"attention_bias": True, "num_hidden_layers": 1}}, "attention_bias True"),
        ({"transformer_layer_config": {"hidden_size": 32, "num_attention_heads": 4}}, "num_hidden_layers is 32"),
        ({"eagle_aux_hidden_state_layer_ids": ["2"]}, "not integers"),
    ],
)
def test_what_speculators_computes_otherwise_is_refused_by_name(source, changes, message):
    there = converts(source, "speculators")
    edit(there, **changes)
    status, out, _ = run("inspect", there)
    assert status == 1
    assert message in out
    status, _, err = run("convert", there, "--to", "sglang", "--out", there.with_name("out"))
    assert status == 1
    assert message in err
    assert not there.with_name("out").exists()


def test_what_speculators_cannot_say_is_refused(source):
    edit(
        source,
        lambda found: found | {"fc.weight": torch.zeros(32, 64)},
        eagle_config={"eagle_aux_hidden_state_layer_ids": [1, 2]},
    )
    status, _, err = run("convert", source, "--to", "speculators", "--out", source.with_name("out"))
    assert status == 1
    assert "is fed by 3 layers of its target, and this one by 2" in err


def test_a_tensor_under_two_names_is_refused(source):
    edit(source, lambda found: found | {"model.norm.weight": found["norm.weight"] + 1})
    status, _, err = run("convert", source, "--to", "sglang", "--out", source.with_name("out"))
    assert status == 1
    assert "a tensor twice" in err


def test_a_loss_that_was_not_foreseen_is_refused(source, monkeypatch):
    stored = checkpoint.stored(source, "EAGLE3")
    with pytest.raises(WeightsError, match="EAGLE3 has no layout 'gguf'"):
        conversion.converted(stored, "gguf")
    written = speculators.of_config
    monkeypatch.setattr(speculators, "of_config", lambda *parts: written(*parts) | {"rms_norm_eps": 1.0})
    with pytest.raises(WeightsError, match="without loss"):
        conversion.converted(stored, "speculators")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["transformer_layer_config", "norm_before_residual", "eagle_aux_hidden_state_layer_ids", "draft_vocab_size", "x"]
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(KEYS, JSON), JSON)
def test_no_configuration_of_speculators_ends_with_a_traceback(changes, kind):
    raw = {"speculators_model_type": kind, "norm_before_residual": False, "transformer_layer_config": {}} | changes
    with pytest.raises((WeightsError, ConfigError)):
        checkpoint.parse_config(json.dumps(raw).encode(), "EAGLE3", "config.json")
