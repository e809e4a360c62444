"""The training state on disk: weights, optimizer, step, random state and the pool's uses, as a verified version.

Safetensors and JSON only. A killed trainer resumes from its last saved state as if nothing had happened; samples
that arrived since are still in the spool.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save_file
from torch import Tensor

from aurora_core.drafts.family import Draft
from aurora_core.errors import WeightsError
from aurora_core.models.target import Target
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_EXTRA = "trainer.json"
_OPTIMIZER = "optimizer.safetensors"


def tensors(trainer: Trainer) -> dict[str, Tensor]:
    """The random state, and the optimizer's moments and counts by parameter, on the CPU; not the weights."""
    found: dict[str, Tensor] = {"generator": trainer.generator.get_state()}
    for name, parameter in trainer.draft.named_parameters():
        state = trainer.optimizer.state.get(parameter, {})
        found |= {f"{name}/{m}": state[m].detach().cpu().contiguous() for m in _MOMENTS if m in state}
    return found


def save(store: WeightsStore, trainer: Trainer, uses: dict[str, int], published: int) -> None:
    """Save everything; the last two states are kept.

    Args:
        store: where.
        trainer: what.
        uses: the pool's uses by sample name.
        published: the newest published version that this training knows of.

    Raises:
        WeightsError: the disk is full or fails; the state before is untouched.
    """

    def write(folder: Path) -> None:
        checkpoint.write(folder, trainer.draft, torch.float32)
        save_file(tensors(trainer), folder / _OPTIMIZER)
        (folder / _EXTRA).write_text(json.dumps({"uses": uses, "published": published}))

    fingerprint = trainer.target_fingerprint
    store.publish(
        write,
        target_fingerprint=fingerprint,
        algorithm=trainer.draft.algorithm,
        step=trainer.step,
        tokens=trainer.tokens,
    )
    store.prune(2, (), first=False)


def load_draft(store: WeightsStore, version: int, target: Target) -> Draft | None:
    """The draft of a state that verifies; None where it is another target's.

    Raises:
        WeightsError: the state is damaged, or not signed as it must be.
    """
    manifest, contents = store.read(version)
    if manifest.target_fingerprint != target.fingerprint:
        return None
    return checkpoint.from_contents(contents, manifest.algorithm, f"the state of version {version}")


def restore(store: WeightsStore, version: int, trainer: Trainer) -> tuple[dict[str, int], int]:
    """Bring a trainer made with the state's draft to where the state was saved.

    Returns:
        The pool's uses by sample name, and the newest version that had been published.

    Raises:
        WeightsError: the state cannot be read.
    """
    manifest, contents = store.read(version)
    try:
        optimizer = load(contents[_OPTIMIZER])
        extra = json.loads(contents[_EXTRA])
        uses = {str(name): int(count) for name, count in extra["uses"].items()}
        published = int(extra["published"])
        put(optimizer, trainer)
    except Exception as error:
        # A state is a file that anything may have written; whatever it raises, it must not be met again.
        message = f"the training state {version} below {store.root} cannot be read: {type(error).__name__}"
        raise WeightsError(message) from error
    trainer.step = manifest.step
    trainer.tokens = manifest.tokens
    return uses, published


def put(saved: Mapping[str, Tensor], trainer: Trainer) -> None:
    """Give a trainer the random state and moments of :func:`tensors`.

    Raises:
        KeyError, RuntimeError: there is no random state, or it is none.
        ValueError: the shapes are not those of the parameters.
    """
    trainer.generator.set_state(saved["generator"])
    for name, parameter in trainer.draft.named_parameters():
        moments = {m: saved[f"{name}/{m}"] for m in _MOMENTS if f"{name}/{m}" in saved}
        if any(moment.shape != parameter.shape for m, moment in moments.items() if m != "step"):
            raise ValueError(name)
        if moments:
            # The count of steps too: the fused optimizer reads it where the weights are.
            trainer.optimizer.state[parameter] = {m: x.to(trainer.device) for m, x in moments.items()}
