"""Which of the target's layers feed a draft: SGLang's own choice, and none that the engine cannot give."""

import json

import pytest
from aurora_core.config import DraftConfig
from aurora_core.drafts.eagle3 import layers as eagle_layers
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.models import aux_layers
from aurora_core.models.target import Target
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from families import edit, make

pytestmark = pytest.mark.filterwarnings("ignore")
DRAFT = DraftConfig(draft_vocab_size=96)


def of_layers(folder, layers, name="LlamaForCausalLM"):
    (folder / "config.json").write_text(json.dumps({"architectures": [name], "num_hidden_layers": layers}))
    return Target(folder)


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [(4, (0, 1, 2)), (5, (1, 2, 3)), (6, (2, 3, 4)), (7, (1, 2, 3)), (8, (1, 3, 4)), (61, (1, 29, 57))],
)  # fmt: skip
def test_a_new_draft_is_fed_by_the_layers_that_sglang_takes_itself(tmp_path, layers, chosen):
    target = of_layers(tmp_path, layers)
    assert eagle_layers.default(target) == chosen
    aux_layers.check(chosen, target, "layers")


def test_a_target_of_three_layers_is_too_small(tmp_path):
    with pytest.raises(ConfigError, match="has 3 layers, and a draft is fed by 3"):
        eagle_layers.default(of_layers(tmp_path, 3))


@pytest.mark.parametrize("layers", [(4, 8, 11), (4, 8, 40), (4, 4, 8), (-1, 4, 8)])
def test_layers_that_the_engine_cannot_give_are_refused(tmp_path, layers):
    target = of_layers(tmp_path, 12)
    with pytest.raises(ConfigError, match="has 12 layers, of which a draft can be fed by different ones from 0 to 10"):
        Eagle3Config.for_target(target, 96, layers)
    make("llama").save_pretrained(tmp_path / "target")
    folder, real = tmp_path / "draft", Target(tmp_path / "target")
    folder.mkdir()
    checkpoint.write(folder, first_draft(DRAFT, real, 0))
    edit(folder, config=lambda raw: raw["eagle_config"].update(eagle_aux_hidden_state_layer_ids=layers))
    with pytest.raises(WeightsError, match=f"{folder} does not fit .* cannot be fed by layers {layers[0]}"):
        first_draft(DraftConfig(checkpoint=str(folder)), real, 0)


def test_of_gpt_oss_the_end_of_the_last_layer_can_be_had(tmp_path):
    aux_layers.check((24, 30, 36), of_layers(tmp_path, 36, "GptOssForCausalLM"), "layers")
    with pytest.raises(ConfigError):
        aux_layers.check((24, 30, 36), of_layers(tmp_path, 36), "layers")
