"""A target's files that are ambiguous, missing or no numbers are named, and never read as something plausible."""

import json
import os
import shutil

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target
from aurora_core.training.init import first_draft
from families import HIDDEN, VOCAB, edit, make
from safetensors.torch import save_file

pytestmark = pytest.mark.filterwarnings("ignore")
DRAFT = DraftConfig(draft_vocab_size=96)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint as transformers writes it."""
    folder = tmp_path_factory.mktemp("target")
    make("qwen3_untied").save_pretrained(folder)
    return folder


def copied(saved, folder):
    """The checkpoint to be changed."""
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"num_key_value_heads": -2}, "num_key_value_heads is -2"),
        ({"final_logit_softcapping": -30.0}, "final_logit_softcapping is -30.0"),
        ({"final_logit_softcapping": "30"}, "final_logit_softcapping is '30'"),
        ({"quantization_config": "fp8"}, "weight_block_size is 'fp8'"),
        ({"quantization_config": {"weight_block_size": [0, 0]}}, r"weight_block_size is \[0, 0\]"),
        ({"quantization_config": {"weight_block_size": ["32", "32"]}}, "weight_block_size is"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0.0}}, "rope's factor is 0.0"),
        ({"rope_parameters": {"rope_type": "linear", "factor": "2"}}, "rope's factor is '2'"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": float("nan")}}, "rope_theta is nan"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 10**400}}, "rope_theta is 1000"),
        ({"rope_parameters": {"rope_type": ["linear"]}}, "rope_parameters is .*, not an object with a type"),
        ({"intermediate_size": 2**63}, "intermediate_size is 9223372036854775808"),
    ],
)
def test_numbers_of_a_configuration_that_are_none_are_named(saved, tmp_path, changes, words):
    folder = copied(saved, tmp_path)
    edit(folder, config=lambda raw: raw.update(changes))
    target = Target(folder)
    with pytest.raises(ConfigError, match=words):
        _ = first_draft(DRAFT, target, 0), target.soft_cap


@pytest.mark.parametrize(
    ("name", "weight", "words"),
    [
        ("model.norm.weight", torch.ones(HIDDEN // 2), r"norm.weight is \[32\], and must be \[64\]"),
        ("lm_head.weight", torch.full((VOCAB, HIDDEN), float("nan")), "lm_head.weight has numbers that are NaN"),
    ],
)
def test_a_tensor_that_would_make_a_dead_draft_is_refused(saved, tmp_path, name, weight, words):
    folder = copied(saved, tmp_path)
    edit(folder, tensors=lambda tensors: {**tensors, name: weight})
    with pytest.raises(ConfigError, match=words):
        first_draft(DRAFT, Target(folder), 0)


@pytest.mark.parametrize(
    ("changes", "tensors", "words"),
    [
        ({}, {"model.norm.weight": torch.ones(1, HIDDEN)}, r"norm is \[1, 64\], and config.json says \[64\]"),
        ({"rms_norm_eps": float("nan")}, {}, "rms_norm_eps is nan"),
        ({"rms_norm_eps": -1e-5}, {}, "rms_norm_eps is -1e-05"),
    ],
)
def test_a_final_norm_that_cannot_be_computed_is_named(saved, tmp_path, changes, tensors, words):
    folder = copied(saved, tmp_path)
    edit(folder, config=lambda raw: raw.update(changes), tensors=lambda stored: {**stored, **tensors})
    with pytest.raises(ConfigError, match=words):
        Target(folder).final_norm(torch.ones(2, HIDDEN))


def test_a_file_beside_the_model_counts_by_the_index_alone(saved, tmp_path):
    folder = copied(saved, tmp_path)
    save_file({"lm_head.weight": torch.zeros(VOCAB, HIDDEN)}, folder / "a-stale.safetensors")
    with pytest.raises(ConfigError, match=r"lm_head.weight is in .*a-stale.safetensors and in model.safetensors"):
        first_draft(DRAFT, Target(folder), 0)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "model.safetensors"}}))
    assert float(Target(folder).lm_head.abs().max()) > 0
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}))
    with pytest.raises(ConfigError, match=r"lacks model-00001-of-00001.safetensors"):
        first_draft(DRAFT, Target(folder), 0)


def test_a_pipe_among_the_files_is_not_waited_for(saved, tmp_path):
    folder = copied(saved, tmp_path)
    os.mkfifo(folder / "z.safetensors")
    with pytest.raises(ConfigError, match=r"z.safetensors cannot be read: it is no regular file"):
        _ = Target(folder).fingerprint
    with pytest.raises(ConfigError, match=r"z.safetensors cannot be read"):
        _ = Target(folder).lm_head
