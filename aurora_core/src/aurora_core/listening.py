"""Where a process listens: at all addresses of its machine, of whichever families that has.

A cluster can be IPv4, IPv6 or both, and a node of it can lack IPv6 altogether, so that neither ``0.0.0.0`` nor ``::``
is right everywhere: it is decided when a process starts.
"""

import socket

ALL = "*"
"""Host that stands for all addresses."""
_IPV4, _IPV6 = "0.0.0.0", "::"  # noqa: S104 (that is the point)


def has_ipv6() -> bool:
    """Whether this machine can bind a socket that takes connections of IPv6, and of IPv4 too."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind((_IPV6, 0))
    except OSError:
        return False
    return True


def host(named: str) -> str:
    """The host for a server of asyncio, as uvicorn and SGLang have.

    An empty one means a socket for each family to it; of ``::`` alone it would make one that refuses IPv4.

    Args:
        named: an address, or ALL.
    """
    if named != ALL:
        return named
    return "" if has_ipv6() else _IPV4


def reachable(named: str) -> str:
    """The host by which this machine reaches what listens at one.

    Args:
        named: an address, or ALL.
    """
    return "127.0.0.1" if named in {_IPV4, _IPV6, ALL} else named


def wildcard() -> str:
    """The address for a server with a single socket, which takes both families where there are both."""
    return _IPV6 if has_ipv6() else _IPV4
