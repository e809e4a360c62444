"""One endpoint for users before several engines of one machine: to the one with the fewest requests, streamed through.

It knows nothing of what passes: who may call what is decided by each engine, with the API keys that requests bring.
"""

import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aurora_core import listening

_METHODS = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"]
_HOP = {"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
"""Headers that are of one connection, not of the message."""
_CONNECT_SECONDS = 3.0


class Balancer:
    """Passes requests on.

    Args:
        engines: their URLs.
    """

    def __init__(self, engines: Sequence[str]) -> None:
        self._engines = tuple(engines)
        self._running: Counter[str] = Counter()
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS), limits=httpx.Limits())

    def app(self) -> Starlette:
        """As an ASGI application."""
        return Starlette(routes=[Route("/{path:path}", self._pass_on, methods=_METHODS)])

    async def _pass_on(self, request: Request) -> Response:
        body = await request.body()
        headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1") not in _HOP]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        for engine in sorted(self._engines, key=lambda one: self._running[one]):
            self._running[engine] += 1
            try:
                sent = self._client.build_request(request.method, engine + path, headers=headers, content=body)
                answer = await self._client.send(sent, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                # Nothing of the request was sent: another one can have it.
                self._running[engine] -= 1
                continue
            except httpx.HTTPError as error:
                self._running[engine] -= 1
                return JSONResponse({"error": f"the engine ended while it answered: {type(error).__name__}"}, 502)

            return StreamingResponse(
                _bytes(answer),
                answer.status_code,
                {name: value for name, value in answer.headers.items() if name not in _HOP},
                background=BackgroundTask(self._ended, engine, answer),
            )
        return JSONResponse({"error": "no engine answers now"}, 503)

    async def _ended(self, engine: str, answer: httpx.Response) -> None:
        self._running[engine] -= 1
        await answer.aclose()


async def _bytes(answer: httpx.Response) -> AsyncIterator[bytes]:
    """As they come, still compressed where they are."""
    async for chunk in answer.aiter_raw():
        yield chunk


class Endpoint:
    """A balancer that listens once it is started, in a thread of this process.

    Attributes:
        url: where this machine reaches it.
    """

    def __init__(self, host: str, port: int, engines: Sequence[str]) -> None:
        self.url = f"http://{listening.reachable(host)}:{port}"
        self._server = uvicorn.Server(
            uvicorn.Config(Balancer(engines).app(), host=listening.host(host), port=port, log_level="warning")
        )
        self._thread = threading.Thread(target=self._server.run, name="aurora-endpoint", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        self._thread.join()
