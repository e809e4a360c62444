"""Version 0: the user's draft, or a new one (day-0)."""

from pathlib import Path

from aurora_core.config.parts import DraftConfig
from aurora_core.drafts.family import Draft
from aurora_core.drafts.registry import family
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.models import aux_layers
from aurora_core.models.target import Target
from aurora_core.weights import checkpoint
from aurora_core.weights.manifest import Manifest
from aurora_core.weights.store import WeightsStore


def first_draft(config: DraftConfig, target: Target, seed: int) -> Draft:
    """The draft that training starts from.

    Raises:
        ConfigError: the target cannot be read or has no such layers, or the family is not known.
        WeightsError: the given checkpoint is none, or fits another target or other layers of it.
    """
    of_kind = family(config.algorithm)
    if config.checkpoint is None:
        new: Draft = of_kind.initialise(config, target, seed)
        return new
    if config.shape is not None:
        raise ConfigError(f"draft.shape is of a new draft: {config.checkpoint} has its own")
    layers = config.aux_layers or of_kind.default_layers(target)
    draft = checkpoint.read(Path(config.checkpoint), config.algorithm, layers)
    shape = draft.config
    if shape.vocab_size != target.vocab_size or shape.target_hidden_size != target.hidden_size:
        message = (
            f"the draft {config.checkpoint} is for a target of width {shape.target_hidden_size} and "
            f"{shape.vocab_size} tokens; {target.path} has {target.hidden_size} and {target.vocab_size}"
        )
        raise WeightsError(message)
    if config.aux_layers and config.aux_layers != shape.aux_layers:
        message = f"the draft {config.checkpoint} is fed by layers {shape.aux_layers}, not {config.aux_layers}"
        raise WeightsError(message)
    aux_layers.check(shape.aux_layers, target, f"the draft {config.checkpoint} cannot be fed by layers")
    return draft


def ensure_first(store: WeightsStore, config: DraftConfig, target: Target, seed: int) -> Manifest:
    """Publish version 0 unless the store has versions; returns the newest version's manifest."""
    versions = store.versions()
    if versions:
        return store.manifest(versions[-1])
    draft = first_draft(config, target, seed)
    return store.publish(
        lambda folder: checkpoint.write(folder, draft),
        target_fingerprint=target.fingerprint,
        algorithm=draft.algorithm,
    )
