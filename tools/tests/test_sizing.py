"""Sizes are what the code makes, facts are what transformers knows, and every example is valid and can run."""

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from aurora_core.config.parts import DraftShape, SamplesConfig
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.engine.rows import RowPool
from aurora_core.errors import TransportError
from aurora_core.models.families import FAMILIES
from aurora_core.models.target import Target as Checkpoint
from aurora_core.samples.pool import Pool
from aurora_core.samples.schema import Sample, encode
from aurora_core.samples.spool import SpoolSink, SpoolSource
from aurora_core.weights import checkpoint
from aurora_operator.api.spec import Spec
from sizing import chart_values, formulas, manifest, pages
from sizing.files import files
from sizing.formulas import GIB
from sizing.shape import Draft, Source, Target
from sizing.table import ROWS
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

ROOT = Path(__file__).parents[2]
NOWHERE = Source("made up")
TINY = Target("tiny", "llama", 64, 5, 160, 1_000_000, 2 * 5 * 2 * 16 * 2, 2, NOWHERE)
# What the models' config.json say beside the defaults of transformers' classes; the sources are in targets.py.
CONFIGURED = {
    "Qwen/Qwen3-4B": {
        "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "intermediate_size": 9728, "vocab_size": 151936, "tie_word_embeddings": True,
    },
    "Qwen/Qwen3-8B": {
        "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "intermediate_size": 12288, "vocab_size": 151936,
    },
    "meta-llama/Llama-3.1-8B-Instruct": {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14336, "vocab_size": 128256,
    },
    "Qwen/Qwen3-Coder-Next": {},
    "Qwen/Qwen3-Coder-Next-FP8": {},
    "MiniMaxAI/MiniMax-M2.1": {},
    "nvidia/Kimi-K2.5-NVFP4": {
        "num_attention_heads": 64, "num_key_value_heads": 64, "n_routed_experts": 384, "first_k_dense_replace": 1,
        "vocab_size": 163840, "n_group": 1, "topk_group": 1,
    },
    "openai/gpt-oss-20b": {"num_hidden_layers": 24, "num_local_experts": 32},
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
        "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
    },
}  # fmt: skip
TARGETS = {row.target.model: row.target for row in ROWS}
NEW = {row.name: row for row in ROWS if not row.checkpoint}
PER_ROW = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
PER_TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


def config_of(target):
    return CONFIG_MAPPING[target.kind](**CONFIGURED[target.model])


def a_sample(length, hidden):
    aux, last = torch.zeros(length - 1, 3 * hidden), torch.zeros(length - 1, hidden)
    return Sample("r", torch.zeros(length, dtype=torch.int64), 1, aux.bfloat16(), last.bfloat16(), 0, "f" * 64)


@pytest.mark.parametrize("length", [2, 17, 300])
def test_a_sample_is_as_large_as_the_formula_says_but_for_its_header(length):
    size = len(encode(a_sample(length, TINY.hidden)))
    assert 0 <= formulas.sample(TINY, length) - size < formulas.HEADER


def test_sizes_of_a_sample_calculated_on_paper():
    # Width 4,096: 4 x 4,096 x 2 = 32 KiB a row; 2,047 rows, 2,048 tokens of four bytes, a header.
    target = TARGETS["Qwen/Qwen3-8B"]
    assert target.row_bytes == 32_768
    assert formulas.sample(target, 2048) == 2047 * 32_768 + 8192 + 1024
    assert formulas.captured_rows(target, 1000) == 1000 * 32_776
    assert formulas.spool(target, 100, 20, 2048) == 184 * formulas.sample(target, 2048)
    assert formulas.queue(target, 2048) == 68 * formulas.sample(target, 2048)


def test_the_row_pool_takes_what_the_formula_says():
    pool = RowPool(100, 3 * TINY.hidden, TINY.hidden, torch.bfloat16)
    assert pool._rows.nbytes + pool._tokens.nbytes == formulas.captured_rows(TINY, 100)


@pytest.mark.parametrize("shape", [(64, 4, 2, 16, 96, 32), (128, 8, 8, 32, 512, 160)])
def test_a_draft_and_its_version_are_as_large_as_the_formula_says(shape, tmp_path):
    hidden, heads, key_heads, head_dim, mlp, vocabulary = shape
    draft = Draft(*shape, NOWHERE)
    rope = {"rope_type": "default", "rope_theta": 1e4}
    config = Eagle3Config(
        hidden, hidden, mlp, heads, key_heads, head_dim, 160, vocabulary, 1e-6, 256, rope, (0, 1, 2)
    )  # fmt: skip
    made = Eagle3Draft(config)
    assert draft.parameters == sum(parameter.numel() for parameter in made.parameters())
    checkpoint.write(tmp_path, made)
    stored = (tmp_path / "model.safetensors").stat().st_size
    assert 0 < stored - formulas.version(draft, TINY) < 4096
    assert draft.kv_bytes == 2 * key_heads * head_dim * 2


def test_quantised_weights_calculated_on_paper():
    # 100 numbers in two bytes, 1,000 in 4.25 bits.
    assert Target("t", "k", 1, 1, 1, 1100, 1, 1, NOWHERE, quantised=1000, bits=4.25).weight_bytes == 200 + 532


def test_keys_are_divided_by_as_many_gpus_as_there_are_key_heads():
    at = {gpus: formulas.gpu(TINY, 0, 0, 1000, gpus, 6) - TINY.weight_bytes // gpus for gpus in (1, 2, 4)}
    assert at == {1: 1000 * TINY.kv_bytes, 2: 500 * TINY.kv_bytes, 4: 500 * TINY.kv_bytes}


def through_a_spool(folder, spool_bytes, pool, payload, max_bytes=math.inf):
    """How many of 200 samples reach a trainer that takes in what arrived after each burst, and how many are dropped."""
    sink, dropped = SpoolSink(folder, spool_bytes), 0
    taken = Pool(
        SpoolSource(folder), lambda _: None, size=pool, heldout_size=4, heldout_fraction=0.2, max_bytes=max_bytes
    )
    for burst in range(20):
        for n in range(10):
            try:
                sink.put(f"{burst}_{n}", payload)
            except TransportError:
                dropped += 1
        taken.refill()
    return taken.received, dropped


def test_a_spool_as_large_as_the_pool_loses_nothing_and_a_smaller_one_never_stalls(tmp_path):
    payload = encode(a_sample(9, TINY.hidden))
    assert len(payload) <= formulas.sample(TINY, 9)
    assert through_a_spool(tmp_path / "a", formulas.spool(TINY, 20, 4, 9), 20, payload) == (200, 0)
    small = SamplesConfig(spool_bytes=16 * len(payload))
    received, dropped = through_a_spool(tmp_path / "b", small.spool_bytes, 20, payload, small.pool_bytes)
    # Of each burst of ten at least what the pool leaves free.
    assert received >= 20 * 2
    assert received + dropped == 200


@PER_TARGET
def test_facts_are_those_of_transformers_configuration(target):
    config = config_of(target)
    known = (config.hidden_size, config.num_hidden_layers, config.vocab_size, bool(config.tie_word_embeddings))
    assert (target.hidden, target.layers, target.vocabulary, target.tied) == known


@PER_TARGET
def test_parameters_are_those_of_the_model_that_transformers_makes(target):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(target))
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert target.parameters == sum(sizes.values())
    assert target.quantised in {0, sum(size for name, size in sizes.items() if ".experts." in name)}


@PER_TARGET
def test_keys_and_values_are_those_of_the_configuration(target):
    config = config_of(target)
    if getattr(config, "kv_lora_rank", None):
        # One latent vector a layer, a byte a number.
        assert target.kv_bytes == config.num_hidden_layers * (config.kv_lora_rank + config.qk_rope_head_dim)
        return
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    layers = sum(kind != "linear_attention" for kind in kinds)
    assert target.kv_bytes == 2 * layers * config.num_key_value_heads * head * target.number_bytes


@PER_TARGET
def test_states_of_linear_attention_are_those_of_the_configuration(target):
    config = config_of(target)
    linear = (getattr(config, "layer_types", None) or []).count("linear_attention")
    if not linear:
        assert target.state_bytes == 0
        return
    keys = config.linear_num_key_heads * config.linear_key_head_dim
    values = config.linear_num_value_heads * config.linear_value_head_dim
    matrices = 4 * values * config.linear_key_head_dim
    assert target.state_bytes == linear * (matrices + 2 * (2 * keys + values) * (config.linear_conv_kernel_dim - 1))


@pytest.mark.parametrize("row", NEW.values(), ids=list(NEW))
def test_a_new_draft_has_the_shape_that_the_core_gives_it(row, tmp_path):
    config = config_of(row.target)
    architecture = next(name for name, family in FAMILIES.items() if family.model_type == row.target.kind)
    (tmp_path / "config.json").write_text(json.dumps(config.to_diff_dict() | {"architectures": [architecture]}))
    spec = manifest.body(row)["spec"]["draft"]
    wish = DraftShape.model_validate(spec["shape"]) if "shape" in spec else None
    made = Eagle3Config.for_target(Checkpoint(tmp_path), spec["draftVocabSize"], None, wish)
    known = (made.num_attention_heads, made.num_key_value_heads, made.head_dim, made.intermediate_size)
    assert (row.draft.heads, row.draft.key_heads, row.draft.head_dim, row.draft.mlp) == known
    assert (row.draft.hidden, row.draft.vocabulary) == (made.hidden_size, made.draft_vocab_size)


@PER_ROW
def test_an_example_is_a_valid_resource(row):
    body = yaml.safe_load((ROOT / "examples" / row.name / "speculatordeployment.yaml").read_text())
    assert body["metadata"]["name"] == row.name
    Spec.model_validate(body["spec"])


@PER_ROW
def test_an_examples_values_are_the_charts_and_open_the_way_to_its_prometheus(row):
    values = yaml.safe_load((ROOT / "examples" / row.name / "values.yaml").read_text())
    assert values == chart_values.body(row)
    chart = yaml.safe_load((ROOT / "charts" / "aurora-operator" / "values.yaml").read_text())["networkPolicy"]
    assert values["networkPolicy"].keys() <= chart.keys()
    url = manifest.body(row)["spec"]["promotion"]["prometheus"]["url"]
    opened = values["networkPolicy"]["prometheus"]
    (place,) = (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in opened["to"])
    assert url.split("//")[1].split("/")[0].endswith(f".{place}.svc:{opened['ports'][0]}")


@PER_ROW
def test_an_examples_loop_can_run(row):
    assert row.problems() == []
    spec = Spec.model_validate(manifest.body(row)["spec"])
    training, samples = spec.training.hyperparameters, spec.samples
    held = (samples.pool_size + training.holdout_samples) * formulas.sample(row.target, samples.max_tokens)
    assert held < samples.spool_bytes
    assert spec.weights.template is not None
    assert spec.weights.template.size == f"{row.volume_gib}Gi"
    assert samples.spool_bytes < row.volume_gib * GIB
    # Training begins before the pool is full, and never needs more than fit in it.
    assert training.start_samples <= samples.pool_size


@PER_ROW
def test_no_example_on_gpus_has_the_small_settings_of_the_cpus(row):
    spec = manifest.body(row)["spec"]
    if row.gpu is None:
        return
    small = yaml.safe_load(manifest.QUICKSTART.read_text())["spec"]
    assert spec["serving"]["maxTotalTokens"] > 5 * small["serving"]["maxTotalTokens"]
    assert "lr" not in spec["training"]["hyperparameters"]
    assert spec["draft"].get("draftVocabSize", 32000) > small["draft"]["draftVocabSize"]
    assert "gate" not in spec["promotion"]


def test_the_defaults_of_the_resource_would_stall_at_the_width_of_a_large_target():
    defaults = Spec.model_validate(
        {"mode": "ExternalWithoutDraft", "target": {"model": "m"}, "promotion": {"strategy": "Manual"}}
    )
    sample = formulas.sample(TARGETS["Qwen/Qwen3-8B"], 2048)
    assert defaults.samples.pool_size * sample > defaults.samples.spool_bytes


@PER_ROW
def test_settings_that_cannot_run_are_named(row):
    class Cramped(type(row)):
        spool_bytes = 1 << 20

    cramped = Cramped(**{name: getattr(row, name) for name in row.__dataclass_fields__})
    assert "spool" in cramped.problems()[0]


@PER_ROW
def test_a_figure_has_a_source_or_is_not_measured(row):
    page = pages.readme(row)
    assert ("Not measured." in page) != bool(row.figures)
    assert all(figure.source.url for figure in row.figures)
    assert row.target.source.text
    assert row.draft.source.text


def test_figures_of_our_own_are_still_those_of_the_page_that_they_name():
    quoted = [figure for row in ROWS for figure in row.figures if figure.source.url.startswith("../../")]
    assert quoted
    for figure in quoted:
        page = (ROOT / figure.source.url.removeprefix("../../")).read_text()
        assert all(number in page for number in figure.value.split(" and ")), figure


def test_every_directory_of_examples_is_generated():
    made = {path.parent.name for path in files(ROOT) if path.name == "speculatordeployment.yaml"}
    assert {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()} - {"prompts"} == made
    listed = (ROOT / "docs" / "sizing.md").read_text()
    assert all(f"../examples/{name}/README.md" in listed for name in made)


@pytest.mark.parametrize(
    ("size", "text"), [(5, "5 bytes"), (2048, "2.0 KiB"), (150 << 20, "150 MiB"), (3 << 29, "1.5 GiB")]
)
def test_sizes_are_shown_as_people_read_them(size, text):
    assert pages.shown(size) == text
