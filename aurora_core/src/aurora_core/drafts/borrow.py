"""First weights of a new draft that are its target's."""

import logging

from torch import Tensor

from aurora_core.errors import ConfigError
from aurora_core.models.target import Target

log = logging.getLogger(__name__)


def copied(target: Target, part: str, weights: dict[str, Tensor]) -> bool:
    """Copy a layer's part where all of it fits; a half of it computes nothing that the target does."""
    try:
        sources = {name: target.tensor(f"{part}.{name}.weight") for name in weights}
    except ConfigError as error:
        log.warning("the new draft's %s starts at random: %s", part.partition(".")[2], error)
        return False
    found = {name: source for name, source in sources.items() if source is not None}
    if len(found) < len(weights) or any(source.shape != weights[name].shape for name, source in found.items()):
        return False
    for name, source in found.items():
        weights[name].copy_(source)
    return True
