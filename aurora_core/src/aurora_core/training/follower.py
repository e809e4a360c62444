"""Every rank but the first: it makes the draft that rank 0 has, takes its share of each step, and ends with rank 0.

A follower reads the target's files and nothing else of the volume, and writes nothing at all.
"""

import json
import logging
import signal
from types import FrameType

import torch

from aurora_core.config.training import TrainingConfig
from aurora_core.errors import TrainingError
from aurora_core.models.target import Target
from aurora_core.training import state
from aurora_core.training.group import Group, Kind, Order, leave, unpacked_share
from aurora_core.training.parallel import Ranks
from aurora_core.training.start import device_here
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint

log = logging.getLogger(__name__)

_DRAFT, _STATE = "draft/", "state/"


def begin(trainer: Trainer) -> None:
    """Give all followers the draft and optimizer that rank 0 starts with; nothing without followers."""
    ranks = trainer.ranks
    if not isinstance(ranks, Group):
        return
    tensors, config = checkpoint.parts(trainer.draft, torch.float32)
    text = json.dumps(
        {
            "algorithm": trainer.draft.algorithm,
            "config": config,
            "step": trainer.step,
            "tokens": trainer.tokens,
            # What auto means is measured, and the machines of ranks may differ.
            "precision": "fp32" if trainer.dtype == torch.float32 else "bf16",
        }
    )
    body = {_DRAFT + name: tensor for name, tensor in tensors.items()}
    body |= {_STATE + name: tensor for name, tensor in state.tensors(trainer).items()}
    ranks.announce(Kind.START, text, [body] * (ranks.size - 1))
    # Until all have it, weights must not change.
    ranks.any_stops(own=False)


def begun(order: Order, config: TrainingConfig, target: Target, ranks: Ranks) -> Trainer:
    """The trainer that :func:`begin` announced."""
    start = json.loads(order.text)
    parts = {p: {n.removeprefix(p): x for n, x in order.tensors.items() if n.startswith(p)} for p in (_DRAFT, _STATE)}
    draft = checkpoint.from_parts(start["config"].encode(), parts[_DRAFT], start["algorithm"], "the draft of rank 0")
    config = config.model_copy(update={"precision": start["precision"]})
    trainer = Trainer.of(config, draft, target, device_here(), ranks)
    state.put(parts[_STATE], trainer)
    trainer.step, trainer.tokens = start["step"], start["tokens"]
    return trainer


class Follower:
    """A rank that is not the first, from its start to its end."""

    def __init__(self, config: TrainingConfig, target: Target, ranks: Group) -> None:
        self._config = config
        self._target = target
        self._ranks = ranks
        self._stopping = False
        self.trainer: Trainer | None = None
        self.saving = False

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask all ranks to end together after the current step."""
        self._stopping = True

    def run(self) -> bool:
        """Follow rank 0 until it ends; returns whether training came to its end.

        Raises:
            TrainingError: another rank is gone.
        """
        while (order := self._ranks.receive()).kind is not Kind.END:
            self._follow(order)
        leave()
        return order.text == "finished"

    def _follow(self, order: Order) -> None:
        if order.kind is Kind.POLL:
            self._ranks.stops(own=self._stopping)
            return
        if order.kind is Kind.START:
            self.trainer = begun(order, self._config, self._target, self._ranks)
            log.info("rank %d of %d follows from step %d", self._ranks.rank, self._ranks.size, self.trainer.step)
            return
        if self.trainer is None:
            raise TrainingError(f"rank 0 announced {order.kind.value} before its draft: all ranks must run one release")
        if order.kind is Kind.VOCABULARY:
            self.trainer.set_vocabulary(order.tensors["ids"])
        else:
            self.trainer.take_share(unpacked_share(order.tensors), int(order.text))


def install_signals(follower: Follower) -> None:
    """SIGTERM and SIGINT end all ranks after their current step."""
    signal.signal(signal.SIGTERM, follower.stop)
    signal.signal(signal.SIGINT, follower.stop)
