"""Publishes a copy of a version, whole or damaged.

A damaged one has the rows of its head shuffled: it loads and verifies, and proposes nonsense, which only live traffic
can tell. In a pod that has the volume, ``python - VERSION [damaged] < damaged.py`` publishes one and prints its number.
"""

import sys
from pathlib import Path

import torch
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore


def publish_copy(store: WeightsStore, parent: int, *, damaged: bool) -> int:
    """The new version, with its parent's merit."""
    draft = checkpoint.read(store.folder(parent))
    if damaged:
        order = torch.randperm(draft.lm_head.weight.shape[0], generator=torch.Generator().manual_seed(0))
        draft.lm_head.weight.data = draft.lm_head.weight.data[order].clone()
    manifest = store.manifest(parent)
    return store.publish(
        lambda folder: checkpoint.write(folder, draft),
        target_fingerprint=manifest.target_fingerprint,
        parent=parent,
        holdout_accept_length=manifest.holdout_accept_length,
    ).version


if __name__ == "__main__":
    print(publish_copy(WeightsStore(Path("/data/weights")), int(sys.argv[1]), damaged=sys.argv[2:] == ["damaged"]))
