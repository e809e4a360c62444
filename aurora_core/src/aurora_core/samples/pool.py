"""The samples that training draws from: bounded, older ones leaving first, some requests held out for evaluation."""

import hashlib
import logging
import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import torch

from aurora_core.errors import SampleError, TransportError
from aurora_core.samples.schema import Sample
from aurora_core.samples.transport import Delivery, SampleSource

log = logging.getLogger(__name__)


def draw_rank(uses: int, noise: float) -> float:
    """Samples of the lowest ranks are drawn: those never used, and of the others with weights of 1 / uses².

    Args:
        uses: how often it was drawn.
        noise: uniform from 0 to 1.

    The smallest of exponential clocks of these rates draw without replacement: Efraimidis and Spirakis, Weighted random
    sampling with a reservoir (2006).
    """
    return -math.log(max(noise, sys.float_info.min)) * uses**2 if uses else noise - 1.0


@dataclass
class Entry:
    """A sample in the pool."""

    sample: Sample
    name: str
    release: Callable[[], None]
    uses: int = 0
    """How often it was drawn, replay left aside."""
    sent: float = 0.0
    """When it was sent, in seconds of the pool's clock."""
    size: int = 0
    """Bytes that it has where it came from."""


def is_heldout(name: str, fraction: float, salt: bytes) -> bool:
    """Whether a sample is held out: a fixed function of its name, so that it never changes sides.

    Args:
        name: the sender's name of it, which the client's id of the request is part of.
        fraction: of samples that are held out.
        salt: a secret of the deployment, at most 64 bytes: who does not know it cannot choose a part.
    """
    digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def _lot(name: str, salt: bytes) -> bytes:
    """Which of two samples stays when one must leave: that of the smaller lot, after a restart as before it."""
    return hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8, key=salt, person=b"replay").digest()


class Pool:
    """Training and held-out samples.

    Attributes:
        received: samples taken in, both sides.
        rejected: samples refused, by reason.
        why: what was wrong with the last one, by reason.
        evicted: samples that left because the pool was full, or they were too old.
    """

    def __init__(  # noqa: PLR0913 (all but the first two are given by name)
        self,
        source: SampleSource,
        decode: Callable[[bytes], Sample],
        *,
        size: int,
        heldout_size: int,
        heldout_fraction: float,
        replay_fraction: float = 0.0,
        salt: bytes = b"",
        max_age_seconds: float = math.inf,
        max_bytes: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty pool.

        Args:
            source: what arrives.
            decode: reads a sample, or raises.
            size: samples to train on, at most.
            heldout_size: samples held out, at most.
            heldout_fraction: of samples that are held out.
            replay_fraction: of the samples to train on that are earlier ones, kept by lot where all others are the
                newest; and of those that are drawn, at random from all that were drawn before.
            salt: see :func:`is_heldout`.
            max_age_seconds: since it was sent, until a sample leaves.
            max_bytes: of all samples of both sides, at most; below what the source can hold, so that there is room for
                what arrives.
            clock: seconds that only rise.
        """
        self._salt = salt
        self._replay_fraction = replay_fraction
        self._max_age_seconds = max_age_seconds
        self._max_bytes = max_bytes
        self._bytes = 0
        self._short = False
        self._clock = clock
        self._source = source
        self._decode = decode
        self._heldout_fraction = heldout_fraction
        self._size = size
        self._heldout_size = heldout_size
        self.training: deque[Entry] = deque()
        self.heldout: deque[Entry] = deque()
        self.received = 0
        self.rejected: Counter[str] = Counter()
        self.why: dict[str, str] = {}
        self.evicted = 0
        self._lags: list[float] = []

    def refill(self, uses: Mapping[str, int] | None = None) -> int:
        """Take in all that has arrived; returns how many samples that was.

        Args:
            uses: how often a sample was trained on before a restart, by name.
        """
        taken = 0
        self._expire()
        for delivery in self._source.poll():
            try:
                payload = delivery.read()
                sample = self._decode(payload)
            except (SampleError, TransportError) as error:
                self._refuse(delivery, error.reason, str(error))
                continue
            except Exception as error:
                # A sample is a file that anything may have written; whatever it raises, training must survive it, and
                # it must not be met again after a restart.
                log.exception("sample %s cannot be read", delivery.name)
                self._refuse(delivery, "damaged", f"{delivery.name}: {type(error).__name__}")
                continue
            used, sent = (uses or {}).get(delivery.name, 0), self._clock() - delivery.age_seconds
            entry = Entry(sample, delivery.name, delivery.done, used, sent, len(payload))
            self._keep(entry)
            taken += 1
        self.received += taken
        return taken

    def _refuse(self, delivery: Delivery, reason: str, why: str) -> None:
        self.rejected[reason] += 1
        self.why[reason] = why
        delivery.done()

    def _expire(self) -> None:
        """Let go of what is too old; both sides are in the order of arrival."""
        oldest = self._clock() - self._max_age_seconds
        for part in (self.training, self.heldout):
            while part and part[0].sent < oldest:
                self._remove(part, 0)

    def _keep(self, entry: Entry) -> None:
        held = is_heldout(entry.name, self._heldout_fraction, self._salt)
        part, size = (self.heldout, self._heldout_size) if held else (self.training, self._size)
        part.append(entry)
        self._bytes += entry.size
        while len(part) > size:
            self._evict(part)
        while self._bytes > self._max_bytes and len(self.training) + len(self.heldout) > 1:
            # The oldest of all but earlier ones that are kept: held-out samples keep their share.
            parts = (part for part in (self.training, self.heldout) if part)
            self._evict(min(parts, key=lambda part: part[self._earlier(part)].sent))
            self._say_short()

    def _earlier(self, part: deque[Entry]) -> int:
        """How many of the oldest are kept by lot."""
        return int(self._replay_fraction * len(part)) if part is self.training else 0

    def _evict(self, part: deque[Entry]) -> None:
        """Let go of the oldest, or where earlier ones are kept of one of these or of the oldest other."""
        lots = [_lot(entry.name, self._salt) for entry in islice(part, self._earlier(part) + 1)]
        self._remove(part, lots.index(max(lots)))

    def _remove(self, part: deque[Entry], at: int) -> None:
        entry = part[at]
        del part[at]
        entry.release()
        self._bytes -= entry.size
        self.evicted += 1

    def _say_short(self) -> None:
        if not self._short:
            log.warning(
                "the pool keeps %d samples, not %d: they have %.0f MiB, which is what there is room for. Raise "
                "samples.spoolBytes, or lower samples.maxTokens",
                len(self.training), self._size, self._max_bytes / 2**20,
            )  # fmt: skip
        self._short = True

    def draw(self, count: int, generator: torch.Generator) -> list[Sample]:
        """Samples for one micro-batch: those never used, and others at random, one used less being likelier.

        So fresh traffic is learned at once, and again with other samples between: were those used least always taken,
        the newest would be drawn in step after step, and several steps would learn from nearly the same samples.

        Some are drawn again instead, of all that were drawn before, and that is no use of theirs: what comes of earlier
        traffic is trained on beside what is fresh, and not in its place.
        """
        again = self._again(count, generator)
        names = {entry.name for entry in again}
        noise = torch.rand(len(self.training), generator=generator).tolist()
        order = sorted(zip(self.training, noise, strict=True), key=lambda pair: draw_rank(pair[0].uses, pair[1]))
        fresh = [entry for entry, _ in order if entry.name not in names][: count - len(again)]
        now = time.time()
        for entry in fresh:
            if not entry.uses and entry.sample.captured:
                # Clocks of two machines may differ by more than a sample took.
                self._lags.append(max(0.0, now - entry.sample.captured))
            entry.uses += 1
        return [entry.sample for entry in (*fresh, *again)]

    def _again(self, count: int, generator: torch.Generator) -> list[Entry]:
        if not self._replay_fraction:
            return []
        used = [entry for entry in self.training if entry.uses]
        # A share that is not an integer number of samples is met on average.
        number = int(count * self._replay_fraction + float(torch.rand((), generator=generator)))
        return [used[at] for at in torch.randperm(len(used), generator=generator)[:number].tolist()]

    def lags(self) -> list[float]:
        """Seconds from capture to the first draw, of the samples that were first drawn since the last call."""
        lags, self._lags = self._lags, []
        return lags

    def window(self) -> tuple[datetime | None, datetime | None]:
        """When the oldest and the newest sample to train on were sent."""
        if not self.training:
            return None, None
        now, clock = datetime.now(UTC), self._clock()
        oldest, newest = (now - timedelta(seconds=clock - self.training[at].sent) for at in (0, -1))
        return oldest, newest

    def draws(self) -> int:
        """How often samples in the pool were used, in all; those drawn again are not counted."""
        return sum(entry.uses for entry in self.training)

    def uses(self) -> dict[str, int]:
        """How often each sample was used, by name: the pool's part of the training state."""
        return {entry.name: entry.uses for entry in self.training if entry.uses}

    def backlog(self) -> int:
        """Samples that wait outside."""
        return self._source.backlog()

    def lost(self) -> Mapping[str, int]:
        """Samples that engines could not hand over, by reason."""
        return self._source.lost()
