"""How the trainer's ranks find one another in a Ray cluster: the others ask the actor of the first one.

Only when all of them wait does the first one open a store for them to meet at, so that none waits in torch for one that
does not come, and none joins a group that has lost another.
"""

import os
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aurora_core.training.group import Group

_PRESENT_SECONDS = 5.0
"""A rank that asked so long ago waits no more."""
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Meeting:
    """Where the first rank's store listens."""

    address: str
    port: int


class Roll:
    """Which ranks wait for the first one. Its methods are called from several threads."""

    def __init__(self, ranks: int) -> None:
        self._lock = threading.Lock()
        self._asked = dict.fromkeys(range(1, ranks), float("-inf"))
        self._meeting: Meeting | None = None

    def ask(self, rank: int, now: float) -> Meeting | None:
        """A rank waits, at a time in seconds; where it is to come, None as long as others are missing."""
        with self._lock:
            self._asked[rank] = now
            return self._meeting

    def missing(self, now: float) -> list[int]:
        """Ranks that do not wait."""
        with self._lock:
            return [rank for rank, at in self._asked.items() if now - at > _PRESENT_SECONDS]

    def open(self, meeting: Meeting) -> None:
        """Have all come here."""
        with self._lock:
            self._meeting = meeting

    def close(self) -> None:
        """Nobody is to come any more."""
        with self._lock:
            self._meeting = None


def listening(*, local: bool) -> tuple[Meeting, socket.socket]:
    """A socket that listens on the loopback, or on the address of this node's own name."""
    name = _LOOPBACK if local else socket.gethostname()
    family, _, _, _, address = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)
    sock.listen()
    host, port = sock.getsockname()[:2]
    return Meeting(str(host), int(port)), sock


def meet(meeting: Meeting, rank: int, ranks: int, *, server: socket.socket | None = None) -> "Group":
    """Join the others, and wait for all of them.

    Args:
        meeting: of the first rank's store.
        rank: this process's number.
        ranks: how many there are.
        server: the first rank's socket.

    Raises:
        TrainingError: the others do not come.
    """
    # Heavy, and only after the GPU is chosen.
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # noqa: PLC0415

    from aurora_core.training import group  # noqa: PLC0415

    if meeting.address == _LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    fd = None if server is None else server.detach()
    store = TCPStore(
        meeting.address, meeting.port, ranks, is_master=fd is not None, timeout=group.PATIENCE, master_listen_fd=fd
    )
    return group.met(store, rank, ranks)
