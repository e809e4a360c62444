"""Whether a draft can be a target's: the rules for drafts of others, in one place."""

from collections.abc import Sequence

from aurora_core.drafts.family import CheckpointConfig
from aurora_core.errors import ConfigError
from aurora_core.models import aux_layers
from aurora_core.models.target import Target


def misfits(config: CheckpointConfig, layers: Sequence[int], target: Target) -> list[str]:
    """What keeps a draft from being served with a target; empty where it fits.

    Args:
        config: what the draft's config.json says.
        layers: the target's layers that feed it: those that it names, or else those that it would be given.
        target: the target.

    Raises:
        ConfigError: the target cannot be read.
    """
    pairs = (
        ("hidden_size", config.target_hidden_size, target.hidden_size),
        ("vocab_size", config.vocab_size, target.vocab_size),
    )
    found = [
        f"{name} of its target is {its}, and this target's is {given}" for name, its, given in pairs if its != given
    ]
    try:
        aux_layers.check(layers, target, "it cannot be fed by layers")
    except ConfigError as error:
        found.append(str(error))
    return found
