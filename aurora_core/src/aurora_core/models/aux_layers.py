"""The target's layers whose outputs feed a draft: which of them the engine can give.

A layer is named by its number from 0 and stands for its output. SGLang reads that as the next layer's input, so the
last layer's cannot be had.
"""

from collections.abc import Sequence

from aurora_core.errors import ConfigError
from aurora_core.models.target import Target


def check(layers: Sequence[int], target: Target, who: str) -> None:
    """Refuse layers that the engine cannot give.

    Args:
        layers: of a configuration or of a draft's checkpoint.
        target: whose layers they are.
        who: names them, in words that start the error.

    Raises:
        ConfigError: one is out of range, or is there twice.
    """
    last = target.num_layers - 2
    if target.family.last_boundary and max(layers, default=0) == target.num_layers:
        # SGLang then counts what lies between layers: 0 is the embedding's output, this number the last layer's.
        last = target.num_layers
    if len(set(layers)) == len(layers) and all(0 <= layer <= last for layer in layers):
        return
    message = (
        f"{who} {', '.join(map(str, layers))}: the target has {target.num_layers} layers, of which a draft can be fed "
        f"by different ones from 0 to {last}"
    )
    raise ConfigError(message)
