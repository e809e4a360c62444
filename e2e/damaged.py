"""Publishes a copy of a version, intact or damaged.

A damaged one has the rows of its head shuffled, or of its vocabulary: it loads and verifies, and proposes nonsense,
which only live traffic shows. ``python - VERSION [rows|vocabulary] < damaged.py`` in a pod that has the volume
publishes one and prints its number.
"""

import sys
from pathlib import Path

import torch
from aurora_core.drafts.eagle3 import maps
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore


def publish_copy(store: WeightsStore, parent: int, damage: str | None = None) -> int:
    """The new version, with its parent's holdout score."""
    draft = checkpoint.read(store.folder(parent), "EAGLE3")
    order = torch.randperm(draft.lm_head.weight.shape[0], generator=torch.Generator().manual_seed(0))
    if damage == "rows":
        draft.lm_head.weight.data = draft.lm_head.weight.data[order].clone()
    elif damage == "vocabulary":
        draft.d2t.copy_(maps.to_d2t(draft.ids[order]))
    manifest = store.manifest(parent)
    return store.publish(
        lambda folder: checkpoint.write(folder, draft),
        target_fingerprint=manifest.target_fingerprint,
        parent=parent,
        holdout_accept_length=manifest.holdout_accept_length,
    ).version


if __name__ == "__main__":
    print(publish_copy(WeightsStore(Path("/data/weights")), int(sys.argv[1]), *sys.argv[2:]))
