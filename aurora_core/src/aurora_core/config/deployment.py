"""What the processes of one target share, as one YAML file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import ValidationError, model_validator

from aurora_core.config.arguments import FIXED_STEPS, NOT_PINNED, adapters
from aurora_core.config.base import Config
from aurora_core.config.online import OnlineConfig
from aurora_core.config.overrides import overridden
from aurora_core.config.parts import DraftConfig, SamplesConfig, ServingConfig, TargetConfig, WeightsConfig
from aurora_core.config.training import TrainingConfig
from aurora_core.errors import ConfigError


class DeploymentConfig(Config):
    """What engine and trainer of one target must agree on."""

    target: TargetConfig
    draft: DraftConfig = DraftConfig()
    serving: ServingConfig = ServingConfig()
    training: TrainingConfig = TrainingConfig()
    samples: SamplesConfig = SamplesConfig()
    weights: WeightsConfig = WeightsConfig()
    online: OnlineConfig = OnlineConfig()

    @model_validator(mode="after")
    def _adapters(self) -> Self:
        if adapters(self.serving.extra_args):
            if self.serving.device == "cpu":
                raise ValueError(NOT_PINNED)
            if self.draft.switchable:
                raise ValueError(FIXED_STEPS)
        return self


_C = TypeVar("_C", bound=DeploymentConfig)


def read(path: Path, kind: type[_C], settings: Sequence[str] = ()) -> _C:
    """Read a YAML file.

    Args:
        path: the file.
        kind: of configuration.
        settings: that replace the file's, see :func:`aurora_core.config.overrides.overridden`.

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
        return kind.model_validate(overridden(raw, kind, settings))
    except ValidationError as error:
        lines = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        message = f"{path} is not a valid configuration:\n{lines}"
        raise ConfigError(message) from error
