"""Samples between engine actors and the trainer's: by reference, acknowledged, and bounded at both ends.

An engine's files stay in its spool until the trainer's pool lets go of them, as in the other modes; what travels is an
object of Ray. So a trainer that is killed is offered its full pool again, and an engine's end loses nothing that had
arrived. The engine calls, and both directions are in that one call: offers there, and names to delete back.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aurora_core.errors import SampleError, TransportError
from aurora_core.samples.spool import SpoolDelivery, SpoolSource

NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Offer:
    """A sample that an engine has.

    Attributes:
        name: of its file in that engine's spool.
        age_seconds: since it was captured.
        reference: where its bytes are; a list, because Ray replaces a reference that is an argument by what it means.
    """

    name: str
    age_seconds: float
    reference: Sequence[Any]


@dataclass(frozen=True)
class Receipt:
    """What the trainer answers.

    Attributes:
        trainer: changes when the trainer is restarted: whatever it was offered before it does not have.
        room: samples that it takes now.
        taken: names of the offers that it has from now on.
        again: names whose bytes it could not get.
        released: names that its pool let go of, until they are reported gone.
        largest: bytes of a sample that it can use, at most; 0 while that is not known.
    """

    trainer: str
    room: int
    taken: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    largest: int = 0


@dataclass(frozen=True)
class RayDelivery:
    """A sample at the trainer."""

    name: str
    age_seconds: float
    reference: Sequence[Any]
    fetch: Callable[[Any], bytes]
    lost: Callable[[str], None]
    release: Callable[[str], None]

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            TransportError: the engine that had it is gone. The one that comes in its place is asked for it again.
        """
        try:
            return self.fetch(self.reference[0])
        except Exception as error:
            self.lost(self.name)
            raise TransportError("gone", f"{self.name} left with its engine ({type(error).__name__})") from error

    def done(self) -> None:
        """Let the engine delete its file."""
        self.release(self.name)


class RaySource:
    """The trainer's end: a bounded mailbox. See :class:`aurora_core.samples.transport.SampleSource`.

    Attributes:
        largest: bytes of a sample that can be used, at most; 0, and nothing is taken, while that is not known.
    """

    def __init__(self, in_flight: int, fetch: Callable[[Any], bytes], largest: int = 0) -> None:
        """Open it.

        Args:
            in_flight: samples that may wait to be polled.
            fetch: the bytes behind a reference, or raises.
            largest: see above.
        """
        self.largest = largest
        self._in_flight = in_flight
        self._fetch = fetch
        self._name = uuid4().hex
        self._lock = threading.Lock()
        self._mailbox: dict[str, Offer] = {}
        self._held: set[str] = set()
        self._released: dict[str, set[str]] = {}
        self._again: dict[str, set[str]] = {}
        self._lost_by_reason: Counter[str] = Counter()

    def exchange(
        self, engine: str, offers: Sequence[Offer], gone: Sequence[str], lost: Mapping[str, int] = NOTHING
    ) -> Receipt:
        """An engine's call.

        Args:
            engine: its name.
            offers: samples that it has; those that are here already are not taken twice.
            gone: names that it deleted.
            lost: files that it could not hand over since its last call that was answered, by reason.
        """
        with self._lock:
            self._lost_by_reason.update(lost)
            released = self._released.setdefault(engine, set())
            released.difference_update(gone)
            again = self._again.setdefault(engine, set())
            taken = tuple(offer.name for offer in offers if self._take(f"{engine}/{offer.name}", offer, released))
            again.difference_update(taken)
            # What a sample can have at most is not known before the target is.
            room = self._in_flight - len(self._mailbox) if self.largest else 0
            return Receipt(self._name, room, taken, tuple(sorted(again)), tuple(sorted(released)), self.largest)

    def _take(self, name: str, offer: Offer, released: set[str]) -> bool:
        if name in self._held or offer.name in released:
            return True
        # Also one that waits here already: after an engine's restart the old reference leads nowhere.
        if name in self._mailbox or len(self._mailbox) < self._in_flight:
            self._mailbox[name] = offer
            return True
        return False

    def poll(self) -> Iterator[RayDelivery]:
        """What has arrived since the last call."""
        with self._lock:
            arrived, self._mailbox = self._mailbox, {}
            self._held.update(arrived)
        for name, offer in arrived.items():
            yield RayDelivery(name, offer.age_seconds, offer.reference, self._fetch, self._lost, self._release)

    def _lost(self, name: str) -> None:
        engine, _, own = name.partition("/")
        with self._lock:
            self._held.discard(name)
            self._again.setdefault(engine, set()).add(own)

    def _release(self, name: str) -> None:
        engine, _, own = name.partition("/")
        with self._lock:
            if name in self._held:
                self._held.discard(name)
                self._released.setdefault(engine, set()).add(own)

    def backlog(self) -> int:
        """Samples in the mailbox."""
        return len(self._mailbox)

    def lost(self) -> Mapping[str, int]:
        """What engines could not hand over, by reason."""
        with self._lock:
            return dict(self._lost_by_reason)

    def close(self) -> None:
        """Nothing to release: references go with this process."""


@dataclass
class Collector:
    """An engine's end: what is in its spool, and what of that the trainer has.

    A file is read once the trainer reported how large a sample can be: a larger one is none, and is never read.

    Attributes:
        most_bytes: of the spool.
        lost: files that could not be handed over, by reason; each is deleted.
        unreported: those of them that no trainer has counted yet.
        handed: samples that the trainer took.
    """

    spool: Path
    most_bytes: int
    max_age_seconds: float
    handed: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    unreported: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Nothing is in hand yet, and the trainer is not known."""
        self._source = SpoolSource(self.spool, self.most_bytes, self.max_age_seconds)
        self._waiting: dict[str, SpoolDelivery] = {}
        self._taken: dict[str, SpoolDelivery] = {}
        self._gone: list[str] = []
        self._trainer = ""
        self._room = self._largest = 0

    @property
    def waiting(self) -> int:
        """Samples that the trainer does not have yet."""
        return len(self._waiting)

    def offers(self, put: Callable[[bytes], Any]) -> tuple[list[Offer], list[str]]:
        """What to call :meth:`RaySource.exchange` with now.

        Args:
            put: makes a reference of bytes.
        """
        self._waiting |= {delivery.name: delivery for delivery in self._source.poll()}
        offers: list[Offer] = []
        for name, delivery in list(self._waiting.items())[: self._room]:
            try:
                payload = replace(delivery, most_bytes=min(self.most_bytes, self._largest)).read()
                offers.append(Offer(name, delivery.age_seconds, [put(payload)]))
            except (SampleError, TransportError) as error:
                self.lost[error.reason] += 1
                self.unreported[error.reason] += 1
                del self._waiting[name]
                delivery.done()
        return offers, list(self._gone)

    def answered(self, gone: Sequence[str], receipt: Receipt, lost: Mapping[str, int] = NOTHING) -> None:
        """Take in what the trainer answered, to a call that reported these as gone, and those as lost."""
        self._gone = self._gone[len(gone) :]
        self.unreported -= Counter(lost)
        if receipt.trainer != self._trainer:
            # It has nothing of what another one took.
            self._trainer = receipt.trainer
            self._waiting = {**self._taken, **self._waiting}
            self._taken.clear()
        self._waiting |= {name: self._taken.pop(name) for name in receipt.again if name in self._taken}
        for name in receipt.taken:
            if name in self._waiting:
                self._taken[name] = self._waiting.pop(name)
                self.handed += 1
        self._room, self._largest = receipt.room, receipt.largest
        for name in receipt.released:
            for known in (self._taken, self._waiting):
                delivery = known.pop(name, None)
                if delivery is not None:
                    delivery.done()
            self._gone.append(name)
