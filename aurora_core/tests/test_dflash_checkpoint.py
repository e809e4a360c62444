"""A DFlash checkpoint: what SGLang reads, what of others is read, and what is refused by name."""

import json

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.config.parts import DraftShape
from aurora_core.drafts.dflash import FAMILY
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from safetensors.torch import load_file, save_file

NEW = DraftConfig(algorithm="DFLASH", aux_layers=(1, 2, 3), shape=DraftShape(num_hidden_layers=2))


def test_a_checkpoint_comes_back_and_says_what_sglang_reads(target, tmp_path):
    draft = first_draft(NEW, target, 3)
    checkpoint.write(tmp_path, draft, torch.float32)
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw["architectures"] == ["DFlashDraftModel"]
    assert (raw["block_size"], raw["num_target_layers"]) == (4, 6)
    assert raw["dflash_config"] == {"mask_token_id": 63, "target_layer_ids": [1, 2, 3]}
    back = first_draft(DraftConfig(algorithm="DFLASH", checkpoint=str(tmp_path)), target, 0)
    assert back.config == draft.config
    for name, tensor in draft.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    assert {"fc.weight", "hidden_norm.weight", "norm.weight", "layers.1.self_attn.k_norm.weight"} <= {
        *draft.state_dict()
    }
    assert FAMILY.converted(raw, {}, FAMILY.layout(raw, ()))[0] == raw
    with pytest.raises(ConfigError, match="no layout 'speculators'"):
        FAMILY.converted(raw, {}, "speculators")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architectures": ["LlamaForCausalLMEagle3"]}, "not DFlashDraftModel"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"attention_bias": True}, "attention_bias True computes something else"),
        ({"is_causal": True}, "is_causal"),
        ({"use_gemma_norm": True}, "use_gemma_norm"),
        ({"hidden_act": "swigluoai"}, "hidden_act"),
        ({"num_hidden_layers": 10**6}, "up to 64 layers"),
        ({"block_size": 1}, "supported are 2 to 256"),
        ({"dflash_config": 3}, "no object"),
        ({"dflash_config": {"target_layer_ids": [1, 2, 3]}}, "mask_token_id is missing"),
        ({"dflash_config": {"mask_token_id": 64, "target_layer_ids": [1]}}, "not a token of a vocabulary of 64"),
        ({"dflash_config": {"mask_token_id": 1, "target_layer_ids": ["1"]}}, "not integers"),
        ({"dflash_config": {"mask_token_id": 1}, "num_target_layers": None}, "target_layer_ids are None"),
        ({"dflash_config": {"mask_token_id": 1, "target_layer_ids": [1, 2, 3], "selector_rank": 8}}, "selector_rank 8"),
        ({"dflash_config": {"mask_token_id": 1, "target_layer_ids": [1, 2, 3], "projector_type": "domino"}}, "domino"),
    ],
)
def test_what_computes_something_else_is_refused_by_name(target, tmp_path, change, says):
    checkpoint.write(tmp_path, first_draft(NEW, target, 3))
    raw = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(WeightsError, match=says):
        first_draft(DraftConfig(algorithm="DFLASH", checkpoint=str(tmp_path)), target, 0)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda found: {f"model.{name}": one for name, one in found.items()}, None),
        (lambda found: found | {"embed_tokens.weight": torch.ones(64, 32)}, None),
        (lambda found: {"encoder.fc.weight" if n == "fc.weight" else n: t for n, t in found.items()}, None),
        (lambda found: {n: t for n, t in found.items() if n != "norm.weight"}, "lacks norm.weight"),
        (lambda found: found | {"prefix_gru.weight_ih_l0": torch.ones(2)}, "tensors that DFlash does not"),
        (lambda found: found | {"model.norm.weight": torch.ones(32)}, "twice"),
        (lambda found: found | {"fc.weight": torch.ones(32, 32)}, "config.json says"),
        (lambda found: found | {"norm.weight": torch.ones(32, dtype=torch.int32)}, "not floating-point"),
    ],
)  # fmt: skip
def test_tensors_of_others_are_read_or_refused(target, tmp_path, edit, says):
    draft = first_draft(NEW, target, 3)
    checkpoint.write(tmp_path, draft, torch.float32)
    save_file(edit(load_file(tmp_path / "model.safetensors")), tmp_path / "model.safetensors")
    config = DraftConfig(algorithm="DFLASH", checkpoint=str(tmp_path))
    if says is None:
        assert torch.equal(first_draft(config, target, 0).fc.weight, draft.fc.weight)
        return
    with pytest.raises(WeightsError, match=says):
        first_draft(config, target, 0)


def test_a_trained_mask_embedding_in_a_pickle_is_refused_by_name(target, tmp_path):
    checkpoint.write(tmp_path, first_draft(NEW, target, 3))
    (tmp_path / "mask_embedding.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsError, match=r"keeps weights in mask_embedding\.pt, a pickle"):
        first_draft(DraftConfig(algorithm="DFLASH", checkpoint=str(tmp_path)), target, 0)
