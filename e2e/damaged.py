"""Publishes a damaged copy of a version, in a pod that has the volume: python damaged.py VERSION < this file.

The rows of its head are shuffled, so it loads and verifies, and proposes nonsense: what only live traffic can tell.
Prints the new version.
"""

import sys
from pathlib import Path

import torch
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore

store, parent = WeightsStore(Path("/data/weights")), int(sys.argv[1])
draft = checkpoint.read(store.folder(parent))
order = torch.randperm(draft.lm_head.weight.shape[0], generator=torch.Generator().manual_seed(0))
draft.lm_head.weight.data = draft.lm_head.weight.data[order].clone()
manifest = store.manifest(parent)
published = store.publish(
    lambda folder: checkpoint.write(folder, draft),
    target_fingerprint=manifest.target_fingerprint,
    parent=parent,
    holdout_accept_length=manifest.holdout_accept_length,
)
print(published.version)
