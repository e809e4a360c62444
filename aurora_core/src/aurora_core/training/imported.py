"""A draft of others as the next version of a store, so that live traffic decides whether it serves."""

import os
from pathlib import Path

from aurora_core.config.parts import DraftConfig
from aurora_core.errors import WeightsError
from aurora_core.models.target import Target
from aurora_core.training.init import first_draft
from aurora_core.training.publisher import IMAGE
from aurora_core.weights import checkpoint
from aurora_core.weights.loaded import Loaded, read
from aurora_core.weights.manifest import Manifest, Provenance
from aurora_core.weights.store import WeightsStore


def _newest(store: WeightsStore, target: Target) -> Loaded:
    """The newest version that can be read, which is as all are that the store's engines can serve.

    Raises:
        WeightsError: there is none.
    """
    problem = "there is none"
    for version in reversed(store.versions()):
        try:
            return read(store, version, target.fingerprint)
        except WeightsError as error:
            problem = str(error)
    raise WeightsError(
        f"{store.root} has no version that an engine of this target serves ({problem}): publish one by aurora-core init"
    )


def publish(store: WeightsStore, folder: Path, config: DraftConfig, target: Target) -> Manifest:
    """Publish a draft of others as the next version.

    Args:
        store: where; its lease, if it has one, must be held.
        folder: of the draft.
        config: of the deployment's drafts.
        target: whose draft it is.

    Returns:
        The manifest, after every byte of the version was verified.

    Raises:
        ConfigError: the target cannot be read.
        WeightsError: the draft cannot be read, does not fit the target, or cannot be swapped in for the store's
            versions; or nothing could be published.
    """
    newest = _newest(store, target)
    draft = first_draft(config.model_copy(update={"checkpoint": str(folder), "shape": None}), target, 0)
    try:
        Loaded.of(draft, newest.version + 1).check(newest, f"the draft {folder}")
    except WeightsError as error:
        raise WeightsError(f"{error}; compared with version {newest.version} in {store.root}") from error
    manifest = store.publish(
        lambda staged: checkpoint.write(staged, draft),
        target_fingerprint=target.fingerprint,
        algorithm=draft.algorithm,
        provenance=Provenance(image=os.environ.get(IMAGE, "")[:500]),
    )
    return store.verify(manifest.version)
