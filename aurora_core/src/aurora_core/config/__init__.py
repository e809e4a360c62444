"""Typed configuration: one source for the command line, the trainer, the engine and the custom resource."""

from aurora_core.config.deployment import DeploymentConfig, read
from aurora_core.config.online import OnlineConfig
from aurora_core.config.parts import DraftConfig, SamplesConfig, ServingConfig, TargetConfig, WeightsConfig
from aurora_core.config.training import TrainingConfig

__all__ = [
    "DeploymentConfig",
    "DraftConfig",
    "OnlineConfig",
    "SamplesConfig",
    "ServingConfig",
    "TargetConfig",
    "TrainingConfig",
    "WeightsConfig",
    "read",
]
