"""The target layers that feed an EAGLE3 draft which names none."""

from aurora_core.errors import ConfigError
from aurora_core.models.target import Target

COUNT = 3


def default(target: Target) -> tuple[int, ...]:
    """An early, the middle and a late layer: those that SGLang takes for a draft that names none.

    A target of less than seven layers has not so many, so that there the three are the last ones that can be had.

    Raises:
        ConfigError: the target has too few layers.
    """
    layers = target.num_layers
    if layers < COUNT + 1:
        raise ConfigError(f"{target.path} has {layers} layers, and a draft is fed by {COUNT}, none of them the last")
    theirs = (1, layers // 2 - 1, layers - 4)
    return (
        theirs
        if len(set(theirs)) == COUNT and theirs == tuple(sorted(theirs))
        else tuple(range(layers - 4, layers - 1))
    )
