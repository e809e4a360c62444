"""The learning rate over optimizer steps."""

import math

from aurora_core.config.training import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate of the step numbered ``step`` (from 0): linear warm-up, then constant or cosine."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.lr_decay_style == "constant" or config.lr_total_steps is None:
        return config.lr
    span = max(1, config.lr_total_steps - config.warmup_steps)
    done = min(1.0, (step - config.warmup_steps) / span)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * done))
