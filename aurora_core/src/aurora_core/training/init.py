"""Version 0: the user's draft, or a new one (day-0)."""

from pathlib import Path

from aurora_core.config import DeploymentConfig, DraftConfig
from aurora_core.drafts import fit
from aurora_core.drafts.family import Draft
from aurora_core.drafts.registry import family
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.models.source import fetched, resolve
from aurora_core.models.target import Target
from aurora_core.weights import checkpoint
from aurora_core.weights.manifest import Manifest
from aurora_core.weights.signing import Signing
from aurora_core.weights.store import WeightsStore


def first_draft(config: DraftConfig, target: Target, seed: int) -> Draft:
    """The draft that training starts from.

    Raises:
        ConfigError: the target cannot be read, or the family is not known.
        WeightsError: the given checkpoint is none, or fits another target or other layers of it.
    """
    of_kind = family(config.algorithm)
    if config.checkpoint is None:
        new: Draft = of_kind.initialise(config, target, seed)
        return new
    if config.shape is not None:
        raise ConfigError(f"draft.shape is of a new draft: {config.checkpoint} has its own")
    stored = checkpoint.stored(Path(config.checkpoint), config.algorithm)
    named = stored.config.aux_layers
    if config.aux_layers and named and config.aux_layers != named:
        message = f"the draft {config.checkpoint} is fed by layers {named}, not {config.aux_layers}"
        raise WeightsError(message)
    layers = named or config.aux_layers or of_kind.default_layers(target)
    if found := fit.misfits(stored.config, layers, target):
        message = f"the draft {config.checkpoint} does not fit the target {target.path}: {'; '.join(found)}"
        raise WeightsError(message)
    return stored.draft(layers)


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


def first_version(config: DeploymentConfig, work: Path, models: Path) -> Manifest:
    """Fetch target and draft, and publish version 0 where there is none; returns the newest version's manifest.

    Args:
        config: of the deployment.
        work: folder of weights and training state.
        models: folder of fetched models.

    Raises:
        ConfigError: the target or the draft is not what the configuration says.
        WeightsError: version 0 cannot be published.
    """
    store = WeightsStore(work / "weights", signing=Signing.from_environment())
    target, draft = resolve(config.target, models), fetched(config.draft, models)
    return ensure_first(store, draft, target, config.training.seed)
