"""Drafts of others with more than EAGLE3's first layout: what they say of themselves, and what is written of them."""

import pytest
import torch
from aurora_core.errors import WeightsError
from aurora_core.weights import checkpoint
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
