"""Version 0: the user's draft, or a new one (day-0)."""

from pathlib import Path

import torch

from aurora_core.config.parts import DraftConfig
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.models import aux_layers, day_zero, vocabulary
from aurora_core.models.eagle3 import Eagle3Config, Eagle3Draft
from aurora_core.models.target import Target
from aurora_core.weights import checkpoint
from aurora_core.weights.manifest import Manifest
from aurora_core.weights.store import WeightsStore


def first_draft(config: DraftConfig, target: Target, seed: int) -> Eagle3Draft:
    """The draft that training starts from.

    A new draft's vocabulary is a guess (low ids, which tokenizers give to common tokens) until traffic is seen.

    Raises:
        ConfigError: the target cannot be read, or has no such layers.
        WeightsError: the given checkpoint is none, or fits another target or other layers of it.
    """
    if config.checkpoint is None:
        shape = Eagle3Config.for_target(target, config.draft_vocab_size, config.aux_layers, config.shape)
        draft = Eagle3Draft(shape)
        ids = vocabulary.choose(torch.zeros(target.vocab_size), shape.draft_vocab_size)
        day_zero.initialise(draft, target, ids, seed)
        return draft
    if config.shape is not None:
        raise ConfigError(f"draft.shape is of a new draft: {config.checkpoint} has its own")
    draft = checkpoint.read(Path(config.checkpoint), config.aux_layers or aux_layers.default(target))
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
    return store.publish(lambda folder: checkpoint.write(folder, draft), target_fingerprint=target.fingerprint)
