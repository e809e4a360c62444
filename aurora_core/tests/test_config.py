import tomllib
from pathlib import Path

import pytest
from aurora_core.config import DraftConfig, SamplesConfig, ServingConfig, TrainingConfig
from aurora_core.config.algorithms import FAMILIES
from aurora_core.config.arguments import adapters, of_draft
from aurora_core.config.deployment import DeploymentConfig
from aurora_core.datasets.conversations import read
from aurora_core.errors import ConfigError
from pydantic import ValidationError


def test_defaults_are_those_of_the_external_training_examples():
    c = TrainingConfig()
    assert (c.ttt_length, c.micro_batch, c.lr, c.max_grad_norm, c.max_seq_length) == (5, 4, None, 2.5, 2048)
    assert (c.draft_accumulation_steps, c.seed, c.start_samples) == (1, 42, 32)
    assert DraftConfig().draft_vocab_size == 32000


@pytest.mark.parametrize("keys", [("micro_batch", "lr"), ("microBatch", "lr"), ("micro_batch_size", "learning_rate")])
def test_both_spellings_are_read(keys):
    c = TrainingConfig.model_validate({keys[0]: 7, keys[1]: 0.5})
    assert (c.micro_batch, c.lr) == (7, 0.5)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"lr_decay_style": "cosine"}, "lr_total_steps"),
        ({"ttt_length": 0}, "ttt"),
        ({"lr": -1}, "lr"),
        ({"learning": 1}, "learning"),
    ],
)
def test_nonsense_is_refused_with_the_key(raw, message):
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(raw)


def test_a_chain_verifies_one_token_more_than_it_drafts():
    with pytest.raises(ValidationError, match="num_steps \\+ 1 = 4"):
        DraftConfig(num_steps=3, num_draft_tokens=6)
    assert DraftConfig(num_steps=3, top_k=4, num_draft_tokens=8).top_k == 4


@pytest.mark.parametrize("text", ["", "{}\n", '{"messages": []}\n', "nonsense\n", '{"messages": [{"role": "user"}]}\n'])
def test_bad_prompt_files_say_which_line(tmp_path, text):
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"p\.jsonl"):
        read([path])


@pytest.mark.parametrize("pool", ["poolSize", "maxSamplePoolSize", "pool_size", "max_sample_pool_size"])
@pytest.mark.parametrize("transport", ["Mooncake", "mooncake"])
def test_engines_and_trainers_of_earlier_images_read_what_is_written(pool, transport):
    """Given either spelling, what is written is theirs, and is read again."""
    samples = SamplesConfig.model_validate({pool: 7, "transport": transport})
    assert (samples.pool_size, samples.transport) == (7, "Mooncake")
    written = samples.model_dump(mode="json", by_alias=True)
    assert (written["maxSamplePoolSize"], written["transport"]) == (7, "mooncake")
    assert SamplesConfig.model_validate(written) == samples
    with pytest.raises(ValidationError, match="transport"):
        SamplesConfig.model_validate({"transport": 3})


def test_import_linter_keeps_every_family_apart():
    """A new one must be named in pyproject.toml as well: docs/extending.md."""
    contracts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["importlinter"]
    by_name = {one["name"]: one for one in contracts["contracts"]}
    modules = {one.module for one in FAMILIES.values()}
    assert set(by_name["Draft families know nothing of each other"]["modules"]) == modules
    assert set(by_name["Draft families are reached through the registry alone"]["forbidden_modules"]) == modules


@pytest.mark.parametrize(
    "arguments",
    [
        ("--enable-dp-attention",),
        ("--mem-fraction-static", "0.8", "--dp-size", "2"),
        ("--data-parallel-size=2",),
        ("--pp-size", "2"),
        ("--nnodes", "2"),
        ("--node-rank=1",),
        ("--enable-two-batch",),
        ("--enable-unified-memory",),
    ],
)
def test_an_argument_under_which_the_loop_would_break_is_refused_with_the_reason(arguments):
    with pytest.raises(ValidationError, match="stands for --"):
        ServingConfig(extra_args=arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--hf-token", "a"),
        ("--hf-token=a",),
        ("--my_api-key", "a"),
        ("--api-key=a",),
        ("--secret", "a"),
        ("--ssl-keyfile-password", "a"),
        ("--log-level", "hf_abcdefghij"),
        ("--kv-events-config={'x': 'sk-abcdefghij'}",),
        ("x", "Authorization: Bearer abcdefgh"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",),
        ("-----BEGIN PRIVATE KEY-----",),
        ("--tokenizer-path", "https://user:pass@host/x"),
        ("--api-k", "a"),
        ("--api=a",),
        ("--admin-api", "a"),
        ("--hicache-storage-backend-extra-config", '{"master": "m:1", "password": "a"}'),
        ("--model-loader-extra-config", '{"aws_secret_access_key" : "a"}'),
        ("--tokenizer-path", "https://host/x?a=1&sig=abc"),
        ("--log-level", "github_pat_abcdefgh"),
    ],
)
def test_an_argument_that_shows_a_credential_is_refused_and_not_quoted(arguments):
    with pytest.raises(ValidationError, match="resembles a key or token") as caught:
        ServingConfig(extra_args=arguments)
    values = [argument.split("=")[-1] for argument in arguments if not argument.startswith("--")]
    assert not [value for value in values if len(value) > 1 and value in str(caught.value)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tokenizer-path", "/models/hf_mistral_instruct"),
        ("--lora-paths", "sql=/models/sk-learn-adapter"),
        ("--max-total-tokens", "4096", "--speculative-token-map", "/data/map.pt"),
        ("--prompt-tokens-buckets", "tse", "1", "2"),
        ("--tokenizer-metrics-custom-labels-header", "x-team"),
        ("--json-model-override-args", '{"eos_token": "x", "key": "y", "api_key": ""}'),
        ("--load-format", "https://host/x?a=1"),
        ("--served-model-name", "basic_model", "--dist-init-addr", "http://a:80/b@c"),
    ],
)
def test_an_argument_that_resembles_one_a_little_passes(arguments):
    assert ServingConfig(extra_args=arguments).extra_args == arguments


@pytest.mark.parametrize("given", ["--lora-paths", "--lora-p=a=/models/a", "--enable-lora"])
def test_adapters_are_refused_where_draft_steps_may_change(given):
    serving, target = {"extra_args": [given]}, {"model": "org/model"}
    with pytest.raises(ValidationError, match="cannot change draft steps"):
        DeploymentConfig.model_validate({"target": target, "serving": serving})
    tree = {"top_k": 2, "num_draft_tokens": 6}
    assert DeploymentConfig.model_validate({"target": target, "serving": serving, "draft": tree})
    with pytest.raises(ValidationError, match="does not serve on a CPU"):
        DeploymentConfig.model_validate({"target": target, "serving": {**serving, "device": "cpu"}, "draft": tree})


@pytest.mark.parametrize("given", ["--max-lora-rank", "--lora-backend=triton", "--x=--lora-paths"])
def test_an_argument_that_serves_no_adapter_is_no_adapter(given):
    assert not adapters((given,))


def test_other_arguments_pass():
    arguments = (
        "--mem-fraction-static",
        "0.8",
        "--enable-metrics-for-all-schedulers",
        "-1",
        "--max-running-requests",
        "48",
    )
    assert ServingConfig(extra_args=arguments).extra_args == arguments


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (("--quantization", "fp8"), ("--speculative-draft-model-quantization", "unquant")),
        (("--quant=fp8",), ("--speculative-draft-model-quantization", "unquant")),
        (("--quantization", "fp8", "--speculative-draft-model-quantization=fp8"), ()),
        (("--quantization-param-path", "scales.json"), ()),
        ((), ()),
    ],
)
def test_a_quantised_targets_draft_is_not_quantised_with_it(arguments, added):
    assert of_draft(arguments) == added
