"""Who may call what of the engine's HTTP server: an allow-list for users, everything else for the admin key alone.

SGLang itself is started without API keys, so that none can show in its arguments, its log or its ``/server_info``. This
middleware stands before all of its routes; what is on no list is refused, so that a route which an upgrade adds is
closed until it was decided about.
"""

import json
import re
import secrets
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

Audience = Literal["probe", "user", "control"]

PROBES = ("/health", "/health_generate", "/ready", "/ping")
"""Open to everyone: kubelet's probes carry no key."""
USER_ROUTES = (
    "/generate",
    "/tokenize",
    "/detokenize",
    "/v1/audio/transcriptions",
    "/v1/chat/completions",
    "/v1/classify",
    "/v1/completions",
    "/v1/decisions",
    "/v1/detokenize",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/models",
    "/v1/models/{model:path}",
    "/v1/realtime",
    "/v1/rerank",
    "/v1/responses",
    "/v1/responses/{response_id}",
    "/v1/responses/{response_id}/cancel",
    "/v1/score",
    "/v1/systemone",
    "/v1/tokenize",
)
"""What users need, as SGLang writes its routes."""
WARM_UP = ("/model_info", "/generate", "/encode", "/v1/chat/completions", "/v1/systemone", "/freeze_gc")
"""What SGLang calls of itself, without a key, before it is ready."""
_LOOPBACK = ("127.0.0.1", "::1")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def _pattern(route: str) -> str:
    parts = re.split(r"(\{[^}]*\})", route)
    return "".join(
        (".+" if part.endswith(":path}") else "[^/]+") if part.startswith("{") else re.escape(part) for part in parts
    )


_USER = re.compile("|".join(map(_pattern, USER_ROUTES)))


def audience(path: str) -> Audience:
    """Whom a path is for."""
    if path in PROBES:
        return "probe"
    return "user" if _USER.fullmatch(path) else "control"


@dataclass(frozen=True)
class Access:
    """The API keys of one engine.

    Attributes:
        admin_key: opens every route.
        api_key: opens users' routes; empty where they are open.
        warming_up: set while SGLang calls itself before it is ready.
    """

    admin_key: str
    api_key: str = ""
    warming_up: threading.Event = field(default_factory=threading.Event)

    def refusal(self, path: str, given: str, client: str) -> int | None:
        """The HTTP status to refuse a request with, or None where it may pass.

        Args:
            path: of the request, as the router sees it.
            given: the key that it shows, or nothing.
            client: the address that it comes from.
        """
        whom = audience(path)
        if whom == "probe" or self._shows(given, self.admin_key):
            return None
        if self.warming_up.is_set() and client in _LOOPBACK and path in WARM_UP:
            return None
        if whom == "control":
            return 403
        return None if not self.api_key or self._shows(given, self.api_key) else 401

    @staticmethod
    def _shows(given: str, key: str) -> bool:
        return bool(key) and secrets.compare_digest(given.encode(), key.encode())


def shown_key(headers: list[tuple[bytes, bytes]]) -> str:
    """The key of a request: a bearer token, or Anthropic's ``x-api-key``; empty where it shows none."""
    found = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    kind, _, token = found.get(b"authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else found.get(b"x-api-key", "")


_MESSAGES = {
    401: "this engine needs an API key: send it as a bearer token",
    403: "not a route for users",
}


class AccessMiddleware:
    """ASGI middleware; streams and disconnects pass as they are."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        if scope.get("method") == "OPTIONS" and audience(scope["path"]) == "user":
            # A browser's preflight cannot carry a key; SGLang's CORS middleware answers it, and no route runs.
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        status = self._access.refusal(scope["path"], shown_key(scope["headers"]), client)
        if status is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": _MESSAGES[status]})
        else:
            await _refuse(status, send)


async def _refuse(status: int, send: Send) -> None:
    body = json.dumps({"error": _MESSAGES[status]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:  # noqa: PLR2004 (HTTP's own)
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
