"""The demonstration as one YAML file: what the processes share, and the traffic that it sends."""

from pathlib import Path

from aurora_core.config import DeploymentConfig
from aurora_core.config.base import Config
from aurora_core.config.deployment import read
from pydantic import PositiveInt


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


class LoopConfig(DeploymentConfig):
    """Everything that ``aurora-demo loop`` needs."""

    traffic: TrafficConfig


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
