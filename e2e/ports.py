"""Ports that nobody listens on."""

import itertools
import os
import socket

_FIRST, _SPAN = 20000, 2000
"""Below what the kernel gives to connections; a part for each of pytest's workers, so that no two get the same."""
_NUMBERS = itertools.count(os.getpid())


def free_port() -> int:
    """One of them, on loopback; no other one for this process until all others were given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1
    for number in _NUMBERS:
        port = _FIRST + _SPAN * worker + number % _SPAN
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("there is always another number")
