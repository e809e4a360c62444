"""Single settings replace a file's, in any spelling, and what results can be printed."""

import importlib.util

import pytest
import yaml
from aurora_core.config import DeploymentConfig
from aurora_core.config.overrides import overridden
from aurora_core.errors import ConfigError
from aurora_core.training.trackers import tracker
from command_line import run


@pytest.mark.parametrize("file", ["lr", "learning_rate", "learningRate"])
@pytest.mark.parametrize("given", ["lr", "learning_rate", "learningRate"])
def test_a_setting_replaces_the_file_s_however_both_are_spelled(file, given):
    raw = {"target": {"model": "m"}, "training": {file: 1.0, "seed": 3}}
    found = DeploymentConfig.model_validate(overridden(raw, DeploymentConfig, [f"training.{given}=1e-4"]))
    assert (found.training.lr, found.training.seed) == (1e-4, 3)
    assert raw["training"][file] == 1.0


def test_blocks_that_the_file_leaves_out_are_made():
    found = overridden(
        None, DeploymentConfig, ["target.model=m", "draft.shape.head_dim=64", "draft.auxLayers=[1, 2, 3]"]
    )
    draft = DeploymentConfig.model_validate(found).draft
    assert (draft.shape.head_dim, draft.aux_layers) == (64, (1, 2, 3))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.speed=1", "'speed' is none of ttt_length"),
        ("trainin.lr=1", "'trainin' is none of target"),
        ("training.lr.x=1", "lr is no block"),
        ("training.lr", "expected NAME=VALUE"),
        ("training.lr=[", "is not YAML"),
    ],
)
def test_what_is_no_setting_says_so(setting, message):
    with pytest.raises(ConfigError, match=message):
        overridden({}, DeploymentConfig, [setting])


def test_the_configuration_is_printed_with_its_settings(tmp_path):
    (tmp_path / "c.yaml").write_text("target: {model: m}\n")
    common = ("--work", tmp_path, "--config", tmp_path / "c.yaml", "--print-config", "--log-level", "debug")
    for command in ("train", "init"):
        status, out, err = run(command, *common, "--set", "training.seed=7", "--set", "draft.num_steps=2",
                               "--set", "draft.num_draft_tokens=3")  # fmt: skip
        assert (status, err) == (0, "")
        assert DeploymentConfig.model_validate(yaml.safe_load(out)).training.seed == 7
    status, _, err = run("train", *common, "--set", "training.seed=x")
    assert status == 1
    assert "training.seed" in err


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_a_tracker_that_is_not_installed_says_what_to_install(tmp_path, name):
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    with pytest.raises(ConfigError, match=f"pip install {name}"):
        tracker(name, tmp_path)
