"""The target layers that feed a DFlash draft which names none, and how many layers a new draft has."""

from typing import Any

from aurora_core.errors import ConfigError
from aurora_core.models.target import Target

DEPTH = 5
"""Layers of a new draft: as many as its authors' drafts for targets of 4 to 30 billion parameters have."""
_FEWEST = 4


def spread(of_target: int, count: int) -> tuple[int, ...]:
    """As many layers as the draft has, evenly from the target's second to its fourth last: the rule of SGLang.

    Raises:
        ConfigError: the target has too few layers for so many.
    """
    if count == 1:
        return (of_target // 2,)
    last = of_target - 3
    if of_target < _FEWEST or last - 1 < count - 1:
        raise ConfigError(
            f"a target of {of_target} layers cannot feed a DFlash draft of {count} layers with one each: "
            "set draft.auxLayers, or fewer layers in draft.shape.numHiddenLayers"
        )
    return tuple(round(1 + i * (last - 1) / (count - 1)) for i in range(count))


def default(target: Target, count: int) -> tuple[int, ...]:
    """Those of a new draft.

    Raises:
        ConfigError: the target has too few layers.
    """
    return spread(target.num_layers, count)


def named(layers: Any, of_target: int | None, count: int) -> tuple[int, ...]:
    """Those that a configuration names, or that follow from it.

    Raises:
        ConfigError: what it names are no layers, or it does not say.
    """
    if layers is None and of_target is not None:
        return spread(of_target, count)
    if (
        not isinstance(layers, list)
        or not layers
        or not all(isinstance(layer, int) and not isinstance(layer, bool) for layer in layers)
    ):
        message = f"target_layer_ids are {layers!r:.60}, not integers, and num_target_layers is {of_target}"
        raise ConfigError(message)
    return tuple(layers)
