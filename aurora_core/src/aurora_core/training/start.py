"""Where a trainer keeps what, and where it resumes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from aurora_core.config.training import TrainingConfig
from aurora_core.errors import WeightsError
from aurora_core.models.target import Target
from aurora_core.protocol.trainer import STATUS_FILE
from aurora_core.training import holdout, state
from aurora_core.training.parallel import ALONE, Ranks
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from aurora_core.weights.lease import WriterLease
from aurora_core.weights.signing import Signing
from aurora_core.weights.store import WeightsStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Paths:
    """Where a trainer keeps what.

    Attributes:
        weights: root of the weights store.
        state: root of the training state.
        status: JSON file with the training status, for others to read; None for none.
        in_use: file of the versions, comma separated, that must be kept; None where versions are pruned elsewhere.
        lease: what this process must hold to write; None where no other writer can be.
        signing: of versions and states; None where they are not signed.
    """

    weights: Path
    state: Path
    status: Path | None = None
    in_use: Path | None = None
    lease: WriterLease | None = None
    signing: Signing | None = None

    @classmethod
    def below(cls, work: Path, in_use: Path | None, lease: WriterLease | None, signing: Signing | None) -> Self:
        """Where all processes of a deployment have them, below its folder."""
        state = work / "training"
        return cls(work / "weights", state, state / STATUS_FILE, in_use, lease, signing)

    def open_weights(self) -> WeightsStore:
        """The versions."""
        return WeightsStore(self.weights, self.lease, self.signing)

    def open_states(self) -> WeightsStore:
        """The training states."""
        return WeightsStore(self.state, self.lease, self.signing and self.signing.of_states())


@dataclass(frozen=True)
class Start:
    """Where training resumes.

    Attributes:
        trainer: with the draft, and the optimizer's state where there was one.
        uses: how often each sample was used.
        published: the version to beat.
        salt: decides which samples are held out.
        damaged: states and versions that could not be read.
    """

    trainer: Trainer
    uses: dict[str, int]
    published: int
    salt: bytes
    damaged: int = 0


def device_here() -> torch.device:
    """Where this process trains: its GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resume(config: TrainingConfig, target: Target, paths: Paths, ranks: Ranks = ALONE) -> Start:
    """The newest state, or the newest published version where there is none.

    Args:
        config: hyperparameters.
        target: whose draft it is.
        paths: of weights and state, with lease and credentials.
        ranks: those that train together from here on; the state may be of any other number of them.

    Raises:
        WeightsError: there is neither, or it cannot be read; or the volume fails.
    """
    device = device_here()
    states, store = paths.open_states(), paths.open_weights()
    damaged = 0
    for version in reversed(states.versions()):
        try:
            draft = state.load_draft(states, version, target)
        except WeightsError as error:
            # Skipped for the one before: its steps are lost, but nothing is wrong.
            log.warning("training state %d is passed over: %s", version, error)
            damaged += 1
            continue
        if draft is None:
            continue
        trainer = Trainer.of(config, draft, target, device, ranks)
        try:
            uses, published = state.restore(states, version, trainer)
        except WeightsError:
            log.exception("training state %d is set aside", version)
            try:
                states.set_aside(version)
            except OSError as error:
                raise WeightsError(f"the damaged state {version} cannot be set aside: {error.strerror}") from error
            damaged += 1
            continue
        log.info("resumed at step %d", trainer.step)
        return Start(trainer, uses, published, holdout.salt(paths.state), damaged)
    for version in reversed(store.versions()):
        try:
            manifest, contents = store.read(version)
            draft = checkpoint.from_contents(contents, manifest.algorithm, f"version {version}")
        except WeightsError as error:
            log.warning("version %d is passed over: %s", version, error)
            damaged += 1
            continue
        trainer = Trainer.of(config, draft, target, device, ranks)
        trainer.step, trainer.tokens = manifest.step, manifest.tokens
        return Start(trainer, {}, version, holdout.salt(paths.state), damaged)
    message = f"{paths.weights} has no version that could be started from: publish one first (aurora-core init)"
    raise WeightsError(message)
