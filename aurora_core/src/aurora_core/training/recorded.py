"""A finite set of samples as a source: held-out ones at once, the others in a new order in each epoch, without an end.

Nothing of it is deleted, and no more is handed over at a time than an optimizer step needs, so that neither memory nor
disk must hold all hidden states.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from aurora_core.errors import ConfigError, TrainingError
from aurora_core.samples.pool import is_heldout
from aurora_core.samples.spool import SpoolDelivery, SpoolSource

Read = Callable[[], bytes]


class _Delivery:
    """A sample that is made or read when the pool takes it."""

    age_seconds = 0.0

    def __init__(self, name: str, read: Read) -> None:
        self.name = name
        self.read = read
        self.is_done = False

    def done(self) -> None:
        """It stays where it is."""
        self.is_done = True


class RecordedSource:
    """Hands the samples of a set over, epoch after epoch; see :class:`aurora_core.samples.transport.SampleSource`.

    Attributes:
        training: names of those to train on.
        heldout: names of those that are held out.
    """

    def __init__(
        self,
        samples: Mapping[str, Read],
        *,
        fraction: float,
        salt: bytes,
        most_heldout: int,
        at_first: int,
        at_a_time: int,
        seed: int,
        steps_done: int = 0,
    ) -> None:
        """Split the set.

        Args:
            samples: what reads each, by its name.
            fraction, salt: of those that are held out, as the pool has them.
            most_heldout: samples that an evaluation uses; no more are read of those that are held out.
            at_first: samples to train on that the first call hands over, if there are so many.
            at_a_time: samples of an optimizer step, which each call hands over.
            seed: of the order.
            steps_done: optimizer steps that were taken before; what they used is passed over.

        Raises:
            ConfigError: one side is empty.
        """
        self._samples = samples
        self.heldout = [name for name in samples if is_heldout(name, fraction, salt)][:most_heldout]
        self.training = [name for name in samples if not is_heldout(name, fraction, salt)]
        if not self.heldout or not self.training:
            raise ConfigError(
                f"of {len(samples)} samples {len(self.heldout)} are held out and {len(self.training)} left to train "
                "on: give more, or set training.holdout_fraction to another share"
            )
        self._at_first = max(at_a_time, min(at_first, len(self.training)))
        self._at_a_time = at_a_time
        self._seed = seed
        self._next = steps_done * at_a_time
        self._order: tuple[int, Sequence[int]] = (-1, ())
        self._began = False
        self._refused = 0

    def steps(self, epochs: int) -> int:
        """Optimizer steps that use each sample so often, at least one."""
        return max(1, math.ceil(len(self.training) * epochs / self._at_a_time))

    def _name(self, at: int) -> str:
        epoch, place = divmod(at, len(self.training))
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
            self._order = epoch, torch.randperm(len(self.training), generator=generator).tolist()
        return self.training[self._order[1][place]]

    def poll(self) -> Iterator[_Delivery]:
        """All that are held out at the first call, and the next ones to train on.

        Raises:
            TrainingError: none of the set could be read; the log says why.
        """
        if self._refused >= len(self.training):
            raise TrainingError(f"none of {len(self.training)} samples can be trained on: the log has the reasons")
        count = self._at_a_time
        if not self._began:
            self._began, count = True, self._at_first
            yield from (_Delivery(name, self._samples[name]) for name in self.heldout)
        for _ in range(count):
            delivery = _Delivery(name := self._name(self._next), self._samples[name])
            self._next += 1
            yield delivery
            self._refused = self._refused + 1 if delivery.is_done else 0

    def backlog(self) -> int:
        """Nothing waits: what is not handed over yet comes when it is needed."""
        return 0

    def lost(self) -> Mapping[str, int]:
        """None: they are in files here."""
        return {}

    def close(self) -> None:
        """Nothing to release."""


def of_spool(folder: Path) -> dict[str, Read]:
    """What reads each sample of a recorded spool, by its file's name.

    Raises:
        ConfigError: there is none.
    """
    found: dict[str, SpoolDelivery] = {one.name: one for one in SpoolSource(folder).poll()}
    if not found:
        raise ConfigError(f"{folder} has no sample: name the spool folder of a work folder, with its files *.sample")
    return {name: delivery.read for name, delivery in found.items()}
