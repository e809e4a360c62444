"""Each family's rule against the model that transformers makes of the same files."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.config.parts import DraftShape
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.errors import ConfigError
from aurora_core.models import quantised
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from families import HIDDEN, LAYERS, NAMES, VOCAB, as_fp8, edit, make, text_model
from transformers import LlamaConfig

pytestmark = pytest.mark.filterwarnings("ignore")
CPU = torch.device("cpu")
DRAFT = DraftConfig(draft_vocab_size=96)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Makes a family's checkpoint once; gives its folder and its model."""
    made = {}

    def get(name):
        if name not in made:
            folder, model = tmp_path_factory.mktemp(name), make(name)
            model.save_pretrained(folder)
            made[name] = folder, model
        return made[name]

    return get


@torch.no_grad()
def run(model, tokens):
    """Embeddings, the final norm's input, and logits of a model on tokens [1, T]."""
    text, seen = text_model(model), {}
    handle = text.norm.register_forward_pre_hook(lambda _module, given: seen.update(hidden=given[0]))
    try:
        logits = model(input_ids=tokens).logits
    finally:
        handle.remove()
    return text.embed_tokens(tokens)[0], seen["hidden"][0], logits[0]


@pytest.mark.parametrize("name", NAMES)
def test_embedding_norm_and_head_are_those_of_transformers(saved, name):
    folder, model = saved(name)
    target = Target(folder)
    assert (target.hidden_size, target.num_layers, target.vocab_size) == (HIDDEN, LAYERS, VOCAB)
    tokens = torch.randint(10, VOCAB, (1, 12), generator=torch.Generator().manual_seed(1))
    embedded, hidden, logits = run(model, tokens)
    torch.testing.assert_close(target.embedding[tokens[0]] * target.embedding_scale, embedded)
    torch.testing.assert_close(target.logits(target.final_norm(hidden)), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_draft_starts_with_the_targets_head_and_norm_and_can_be_trained(saved, name):
    folder, model = saved(name)
    target = Target(folder)
    draft = first_draft(DRAFT, target, 0)
    c = draft.config
    assert c.num_attention_heads % c.num_key_value_heads == 0
    assert c.head_dim % 2 == 0
    assert c.aux_layers == (1, LAYERS // 2 - 1, LAYERS - 4)
    tokens = torch.randint(10, VOCAB, (1, 24), generator=torch.Generator().manual_seed(1))
    _, hidden, logits = run(model, tokens)
    logits_of_draft = F.linear(draft.norm(hidden), draft.lm_head.weight)
    torch.testing.assert_close(
        logits_of_draft if target.soft_cap is None else target.soft_cap * torch.tanh(logits_of_draft / target.soft_cap),
        logits[:, draft.ids], rtol=1e-4, atol=1e-4,
    )  # fmt: skip
    spread = {name: float(w.std()) for name, w in draft.named_parameters() if w.ndim > 1}
    assert max(spread.values()) < 1, spread
    last = target.final_norm(hidden[:-1])
    sample = Sample("r", tokens[0], 8, torch.randn(23, 3 * HIDDEN), last, 0, target.fingerprint)
    result = Trainer.of(TrainingConfig(precision="fp32", ttt_length=2), draft, target, CPU).train_step([[sample]])
    assert result.taken
    assert result.tokens > 0


@pytest.mark.parametrize("name", ["llama", "gpt_oss", "gemma3", "qwen3_vl", "deepseek_v3", "glm4_moe"])
def test_a_drafts_rope_is_one_that_sglang_computes_alike(saved, name):
    rope = Target(saved(name)[0])
    draft = first_draft(DRAFT, rope, 0).config
    kinds = {"llama": "llama3", "gpt_oss": "yarn", "deepseek_v3": "yarn"}
    theta = {"llama": 500000.0, "gpt_oss": 150000.0, "gemma3": 1000000.0, "qwen3_vl": 5e6, "deepseek_v3": 150000.0}
    assert draft.rope_parameters["rope_type"] == kinds.get(name, "default")
    assert draft.rope_parameters["rope_theta"] == theta.get(name, 10000.0)
    assert not {"mrope_section", "partial_rotary_factor", "mscale"} & draft.rope_parameters.keys()
    assert all(not isinstance(value, dict) for value in draft.rope_parameters.values())


def copied(saved, name, folder):
    """A family's checkpoint to be changed."""
    shutil.copytree(saved(name)[0], folder, dirs_exist_ok=True)
    return folder


def wrap(raw):
    """config.json as Kimi-K2.5 has it: a wrapper around DeepSeek-V3's, its head not tied."""
    text = {**raw, "model_type": "kimi_k2"}
    raw.clear()
    raw.update(architectures=["KimiK25ForConditionalGeneration"], model_type="kimi_k25", text_config=text)


def test_kimi_is_deepseek_in_a_wrapper(saved, tmp_path):
    folder = copied(saved, "deepseek_v3", tmp_path)
    plain = Target(saved("deepseek_v3")[0])
    edit(folder, config=wrap, tensors=lambda tensors: {f"language_model.{name}": t for name, t in tensors.items()})
    target = Target(folder)
    assert torch.equal(target.embedding, plain.embedding)
    assert torch.equal(target.lm_head, plain.lm_head)
    kimi, deepseek = (first_draft(DRAFT, one, 0) for one in (target, plain))
    assert kimi.config == deepseek.config
    assert torch.equal(kimi.norm.weight, deepseek.norm.weight)


def test_gemma_as_the_hub_has_it_leaves_most_to_its_class(saved, tmp_path):
    """Of gemma-3-4b-it's text_config: only what differs from the defaults, and rope as transformers 4 says it."""
    raw = {
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "tie_word_embeddings": None,
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        },
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(raw))
    target = Target(tmp_path)
    assert (target.vocab_size, target.tied, target.soft_cap) == (262208, True, None)
    config = Eagle3Config.for_target(target, 32000, None)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (8, 4, 256)
    assert config.rope_parameters == {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}
    edit(copied(saved, "gemma3_wrapped", tmp_path), tensors=older_names)
    assert torch.equal(Target(tmp_path).embedding, Target(saved("gemma3_wrapped")[0]).embedding)


def older_names(tensors):
    return {name.replace("model.language_model.", "language_model.model."): t for name, t in tensors.items()}


def test_rope_as_transformers_4_writes_it_is_not_lost(saved, tmp_path):
    def older(raw):
        rope = raw.pop("rope_parameters")
        raw["rope_theta"] = rope.pop("rope_theta")
        raw["rope_scaling"] = rope

    folder = copied(saved, "llama", tmp_path)
    edit(folder, config=older)
    newer = Eagle3Config.for_target(Target(saved("llama")[0]), 96, None)
    assert Eagle3Config.for_target(Target(folder), 96, None) == newer


@pytest.mark.parametrize(
    ("raw", "shape"),
    [
        ({"architectures": ["DeepseekV3ForCausalLM"]}, (64, 8, 128, 18432)),
        ({"architectures": ["KimiK25ForConditionalGeneration"], "text_config": {"num_attention_heads": 64}},
         (64, 8, 128, 18432)),
        ({"architectures": ["MiniMaxM2ForCausalLM"]}, (48, 8, 128, 12288)),
        ({"architectures": ["GptOssForCausalLM"]}, (64, 8, 64, 11520)),
        ({"architectures": ["Glm4MoeForCausalLM"], "head_dim": 128}, (64, 8, 128, 10944)),
        ({"architectures": ["Glm4MoeForCausalLM"], "head_dim": 128, "hidden_size": 5120}, (80, 8, 128, 10944)),
    ],
)  # fmt: skip
def test_drafts_of_large_targets_have_heads_and_mlp_of_a_dense_layer(tmp_path, raw, shape):
    (tmp_path / "config.json").write_text(json.dumps(raw))
    c = Eagle3Config.for_target(Target(tmp_path), 32000, None)
    assert (c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.intermediate_size) == shape
    LlamaConfig(**c.to_hf("bfloat16"))
    with torch.device("meta"):
        Eagle3Draft(c)


def test_a_drafts_shape_can_be_given_and_the_rest_follows_from_the_target(saved, tmp_path):
    target = Target(saved("deepseek_v3")[0])
    wish = DraftShape(num_attention_heads=8, num_key_value_heads=2, head_dim=24, intermediate_size=80)
    c = first_draft(DRAFT.model_copy(update={"shape": wish}), target, 0).config
    assert (c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.intermediate_size) == (8, 2, 24, 80)
    assert (c.hidden_size, c.vocab_size) == (HIDDEN, VOCAB)
    for heads, key_heads in ((4, 3), (6, 2)):
        wrong = DraftShape(num_attention_heads=heads, num_key_value_heads=key_heads)
        with pytest.raises(ConfigError, match=f"width 64 cannot have {heads} heads and {key_heads} key heads"):
            first_draft(DRAFT.model_copy(update={"shape": wrong}), target, 0)
    checkpoint.write(tmp_path, first_draft(DRAFT, target, 0))
    with pytest.raises(ConfigError, match="has its own"):
        first_draft(DraftConfig(checkpoint=str(tmp_path), shape=wish), target, 0)


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}


@pytest.mark.parametrize(
    ("block", "scale"), [((32, 32), "weight_scale_inv"), ((48, 40), "weight_scale_inv"), (None, "weight_scale")]
)
def test_fp8_weights_are_read_with_their_scales(saved, tmp_path, block, scale):
    folder = copied(saved, "qwen3", tmp_path)

    def quantise(tensors):
        for name in [n for n in tensors if n.endswith("proj.weight")]:
            tensors[name], tensors[name.replace("weight", scale)] = as_fp8(tensors[name], block)
        return tensors

    edit(folder, tensors=quantise, config=lambda raw: raw.update(quantization_config=with_block(block)))
    exact = first_draft(DRAFT, Target(saved("qwen3")[0]), 0).state_dict()
    for name, weight in first_draft(DRAFT, Target(folder), 0).state_dict().items():
        torch.testing.assert_close(weight, exact[name], rtol=0.07, atol=2e-3, msg=name)


def with_block(block):
    return FP8 if block is None else {**FP8, "weight_block_size": list(block)}


def test_one_scale_for_a_tensor_and_int8_rows_are_read_too():
    weight = torch.randn(8, 4)
    one = weight.abs().max() / 448
    found = {"w.weight": (weight / one).to(torch.float8_e4m3fn), "w.weight_scale": one}
    torch.testing.assert_close(quantised.read("w.weight", found.get, None), weight, rtol=0.07, atol=2e-2)
    rows = weight.abs().amax(1, keepdim=True) / 127
    found = {"w.weight": (weight / rows).round().to(torch.int8), "w.weight_scale": rows}
    torch.testing.assert_close(quantised.read("w.weight", found.get, None), weight, rtol=0, atol=2e-2)
    symmetric = {**found, "w.weight_zero_point": torch.zeros(8, 1, dtype=torch.int8)}
    torch.testing.assert_close(quantised.read("w.weight", symmetric.get, None), weight, rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"lm_head.weight": torch.zeros(VOCAB, HIDDEN // 2, dtype=torch.uint8),
          "lm_head.weight_scale": torch.ones(VOCAB, 4), "lm_head.weight_scale_2": torch.ones(())}, "uint8 packed"),
        ({"lm_head.weight_packed": torch.zeros(VOCAB, 8, dtype=torch.int32)}, "lm_head.weight_packed is quantised"),
        ({"lm_head.qweight": torch.zeros(VOCAB, 8, dtype=torch.int32)}, "lm_head.qweight is quantised"),
        ({"lm_head.weight_blocks": torch.zeros(VOCAB, 8, dtype=torch.uint8)}, "lm_head.weight_blocks is quantised"),
        ({"lm_head.weight": torch.zeros(VOCAB, HIDDEN).to(torch.float8_e4m3fn)}, "without a scale"),
        ({"lm_head.weight": torch.zeros(VOCAB, HIDDEN).to(torch.float8_e4m3fn),
          "lm_head.weight_scale_inv": torch.ones(3, 5)}, "fit no rule"),
        ({"lm_head.weight": torch.ones(VOCAB, HIDDEN, dtype=torch.int8), "lm_head.weight_scale": torch.ones(VOCAB, 1),
          "lm_head.weight_zero_point": torch.full((VOCAB, 1), 3, dtype=torch.int8)}, "weight_zero_point beside"),
        ({"lm_head.weight": torch.zeros(VOCAB, HIDDEN).to(torch.float8_e4m3fn),
          "lm_head.weight_scale": torch.full((VOCAB, 1), 127, dtype=torch.uint8)}, "a scale of uint8"),
        ({"output.weight": torch.zeros(VOCAB, HIDDEN)}, "no head under lm_head.weight"),
        ({"lm_head.weight": torch.zeros(VOCAB + 1, HIDDEN)}, r"lm_head.weight is \[161, 64\]"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_read_is_refused_in_words(saved, tmp_path, stored, words):
    folder = copied(saved, "qwen3_untied", tmp_path)
    edit(folder, tensors=lambda tensors: {**{n: t for n, t in tensors.items() if n != "lm_head.weight"}, **stored})
    with pytest.raises(ConfigError, match=words):
        first_draft(DRAFT, Target(folder), 0)


def test_a_layer_that_cannot_be_read_leaves_the_draft_random_and_says_so(saved, tmp_path, caplog):
    folder = copied(saved, "qwen3", tmp_path)
    name = f"model.layers.{LAYERS - 1}.mlp.up_proj.weight"
    edit(folder, tensors=lambda t: {**t, name: torch.full(t[name].shape, 77, dtype=torch.uint8)})
    draft = first_draft(DRAFT, Target(folder), 0)
    assert "mlp starts at random" in caplog.text
    assert float(draft.midlayer.mlp.up_proj.weight.abs().max()) < 1


def test_tied_means_the_embedding_whatever_lies_in_the_files(saved, tmp_path):
    folder = copied(saved, "qwen3", tmp_path)
    edit(folder, tensors=lambda tensors: {**tensors, "lm_head.weight": torch.zeros(VOCAB, HIDDEN)})
    target = Target(folder)
    assert target.lm_head is target.embedding


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"architectures": ["GraniteForCausalLM"], "model_type": "granite"},
            r"GraniteForCausalLM \(model_type granite",
        ),
        ({"architectures": None}, "not named"),
        ({"logit_scale": 0.06}, "scales its logits"),
        ({"num_attention_heads": "many"}, "no qwen3 configuration"),
    ],
)
def test_what_is_not_known_of_a_target_is_refused_in_words(saved, tmp_path, changes, words):
    folder = copied(saved, "qwen3", tmp_path)
    edit(folder, config=lambda raw: raw.update(changes))
    with pytest.raises(ConfigError, match=words):
        first_draft(DRAFT, Target(folder), 0)
