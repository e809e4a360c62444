"""Typed configuration: one source for the command line, the trainer, the engine and the custom resource."""

from aurora_core.config.loop import DeploymentConfig, LoopConfig, load, read
from aurora_core.config.parts import DraftConfig, SamplesConfig, ServingConfig, TargetConfig, WeightsConfig
from aurora_core.config.training import TrainingConfig

__all__ = [
    "DeploymentConfig",
    "DraftConfig",
    "LoopConfig",
    "SamplesConfig",
    "ServingConfig",
    "TargetConfig",
    "TrainingConfig",
    "WeightsConfig",
    "load",
    "read",
]
