"""The learning rate over optimizer steps."""

import math

from aurora_core.config.training import TrainingConfig

_RATE_TIMES_WIDTH = 0.576
"""1e-3, the best of those tried (docs/experiments), at the width that it was tried at. In a wider draft Adam's updates
of the same size add up over more inputs, so that the rate falls with the width: Yang et al., Tensor Programs V (arXiv
2203.03466), of hidden weights."""


def peak(config: TrainingConfig, width: int) -> float:
    """The configured peak rate, or the default of a target whose hidden states have this width."""
    return _RATE_TIMES_WIDTH / width if config.lr is None else config.lr


def learning_rate(config: TrainingConfig, peak: float, step: int) -> float:
    """The rate of the step numbered ``step`` (from 0): linear warm-up to the peak, then constant or cosine."""
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.lr_decay_style == "constant" or config.lr_total_steps is None:
        return peak
    span = max(1, config.lr_total_steps - config.warmup_steps)
    done = min(1.0, (step - config.warmup_steps) / span)
    return config.min_lr + (peak - config.min_lr) * 0.5 * (1 + math.cos(math.pi * done))
