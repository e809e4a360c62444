"""Which proxy leads to a server outside of the cluster; what is inside is never reached by one."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_SERVICE = 2
"""Place of ``svc`` in the name of a Service: name, namespace, svc, and the cluster's domain, whatever that is."""

_WITH_PORT = re.compile(r"(\[[^]]+\]|[^:]+):([0-9]+)")


def _given(environment: Mapping[str, str], name: str) -> str:
    """A variable as curl and most libraries read it: in lower case first."""
    return environment.get(name.lower()) or environment.get(name.upper()) or ""


def is_inside(host: str) -> bool:
    """Whether a name is of the cluster or of this very machine, in whatever domain."""
    labels = host.rstrip(".").split(".")
    if ":" in host or labels[-1].isdecimal():
        return ipaddress.ip_address(host).is_loopback
    return len(labels) == 1 or (len(labels) > _SERVICE and labels[_SERVICE] == "svc")


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY is about a server: a name and all below it, an address, or a network."""
    if entry == "*":
        return True
    if found := _WITH_PORT.fullmatch(entry):
        return int(found[2]) == port and _covers(found[1], host, port)
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        domain = entry.removeprefix("*").lstrip(".").lower()
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def proxy_for(url: str, environment: Mapping[str, str]) -> str:
    """URL of the proxy that the environment names for a server; empty where it is reached without.

    Args:
        url: of the server.
        environment: HTTPS_PROXY or HTTP_PROXY by its scheme, else ALL_PROXY; NO_PROXY is names, addresses and networks.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    proxy = _given(environment, f"{parts.scheme}_proxy") or _given(environment, "all_proxy")
    if not host or not proxy or is_inside(host):
        return ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    exempt = _given(environment, "no_proxy").replace(",", " ").split()
    if any(_covers(entry, host, port) for entry in exempt):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"
