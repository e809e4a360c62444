"""A request's stratum, from the HTTP server that sees its headers to the scheduler that counts its cycles.

The server computes it for each request; it travels before the request's own routing key, which SGLang passes from the
server to the scheduler and uses only to sort requests with the same one together. A client cannot choose it otherwise
than by what it shows: whatever it sends as a routing key comes after it.
"""

import hashlib
from collections.abc import Sequence
from contextvars import ContextVar

from aurora_core.config.strata import OTHER, StrataConfig
from aurora_core.engine.access import App, Receive, Scope, Send

_PREFIX = "aurora/"
_SHOWN: ContextVar[str] = ContextVar("aurora_stratum", default=OTHER)
"""Of the request that is served in this context."""


def by_headers(strata: StrataConfig, headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The stratum that a request's headers show; one that comes twice shows nothing.

    Args:
        strata: how it is known.
        headers: as ASGI has them, names in lower case.
    """
    found = [value.decode("latin-1").strip() for name, value in headers if name.decode("latin-1") == strata.header]
    if len(found) != 1:
        return OTHER
    value = found[0]
    if strata.header == "authorization":
        value = value.partition(" ")[2].strip() if value.lower().startswith("bearer ") else ""
    if strata.by == "HeaderHash":
        value = hashlib.sha256(((strata.salt or "") + value).encode()).hexdigest()
    return strata.of(value)


def routing_key(strata: StrataConfig, adapter: str | None, own: str | None) -> str:
    """What the scheduler gets as a request's routing key.

    Args:
        strata: how its stratum is known.
        adapter: that it asks for.
        own: the routing key that it came with.
    """
    name = strata.of(adapter or "") if strata.by == "Adapter" else _SHOWN.get()
    return f"{_PREFIX}{name}/{own or ''}"


def stratum_of(strata: StrataConfig, key: str | None) -> str:
    """The stratum that a routing key says; one of those that there are."""
    name = key.removeprefix(_PREFIX).partition("/")[0] if key and key.startswith(_PREFIX) else OTHER
    return name if name in strata.names else OTHER


class StrataMiddleware:
    """ASGI middleware that remembers each request's stratum while it is served."""

    def __init__(self, app: App, strata: StrataConfig) -> None:
        self._app = app
        self._strata = strata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] in {"http", "websocket"}:
            _SHOWN.set(by_headers(self._strata, scope["headers"]))
        await self._app(scope, receive, send)
