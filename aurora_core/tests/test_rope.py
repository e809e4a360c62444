"""Positions of a new draft: training and SGLang must rotate by the same angles."""

import pytest
import torch
import transformers
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.models.target import Target
from families import NAMES, TEXT, WRAPPED

pytestmark = pytest.mark.filterwarnings("ignore")
POSITIONS = 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_new_draft_of_any_family_is_rotated_as_sglang_does(tmp_path, monkeypatch, name):
    from sglang.srt.layers.rotary_embedding import base, factory  # noqa: PLC0415 (it takes seconds)

    # Else it wants the kernels of a GPU, which make no angles.
    monkeypatch.setattr(base, "_is_cpu", True)
    config, arguments = {**TEXT, **WRAPPED}[name]
    made = getattr(transformers, config)(**arguments)
    kinds = "CAUSAL_LM" if name in TEXT else "IMAGE_TEXT_TO_TEXT"
    made.architectures = [getattr(transformers, f"MODEL_FOR_{kinds}_MAPPING")[type(made)].__name__]
    made.save_pretrained(tmp_path)
    c = Eagle3Config.for_target(Target(tmp_path), 96, None)
    cos, sin = Eagle3Draft(c).rope_tables(torch.arange(POSITIONS)[None])
    theirs = factory.get_rope(
        c.head_dim,
        rotary_dim=c.head_dim,
        max_position=c.max_position_embeddings,
        base=c.rope_parameters["rope_theta"],
        rope_scaling=dict(c.rope_parameters),
        dtype=torch.float32,
    ).cos_sin_cache[:POSITIONS]
    ours = torch.cat((cos[0, 0, :, : c.head_dim // 2], sin[0, 0, :, : c.head_dim // 2]), -1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
