"""The whole loop on one machine, as one YAML file."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import PositiveInt, ValidationError

from aurora_core.config.base import Config
from aurora_core.config.parts import DraftConfig, SamplesConfig, ServingConfig, TargetConfig, WeightsConfig
from aurora_core.config.training import TrainingConfig
from aurora_core.errors import ConfigError


class TrafficConfig(Config):
    """The requests that the loop sends by itself."""

    prompts: Path
    """JSON lines of {"messages": [...]}; the first domain."""
    shifted_prompts: Path | None = None
    """The second domain, to which traffic moves."""
    concurrency: PositiveInt = 4
    """Requests in flight."""
    max_new_tokens: PositiveInt = 96
    """Length of an answer at most."""
    heldout: PositiveInt = 24
    """Prompts of each domain that training never sees, for measuring."""
    seconds: PositiveInt = 420
    """How long each domain's traffic lasts."""


class DeploymentConfig(Config):
    """What engine and trainer of one target must agree on."""

    target: TargetConfig
    draft: DraftConfig = DraftConfig()
    serving: ServingConfig = ServingConfig()
    training: TrainingConfig = TrainingConfig()
    samples: SamplesConfig = SamplesConfig()
    weights: WeightsConfig = WeightsConfig()


class LoopConfig(DeploymentConfig):
    """Everything that ``aurora-core loop`` needs."""

    traffic: TrafficConfig


_C = TypeVar("_C", bound=DeploymentConfig)


def read(path: Path, kind: type[_C]) -> _C:
    """Read a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit the schema; names every wrong key.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        message = f"cannot read the configuration {path}: {error.strerror}"
        raise ConfigError(message) from error
    except yaml.YAMLError as error:
        message = f"{path} is not YAML: {error}"
        raise ConfigError(message) from error
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        lines = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        message = f"{path} is not a valid configuration:\n{lines}"
        raise ConfigError(message) from error


def load(path: Path) -> LoopConfig:
    """Read a loop's YAML file; relative paths in it are relative to the file.

    Raises:
        ConfigError: see :func:`read`.
    """
    config = read(path, LoopConfig)
    traffic = config.traffic
    absolute = {
        "prompts": (path.parent / traffic.prompts).resolve(),
        "shifted_prompts": traffic.shifted_prompts and (path.parent / traffic.shifted_prompts).resolve(),
    }
    return config.model_copy(update={"traffic": traffic.model_copy(update=absolute)})
