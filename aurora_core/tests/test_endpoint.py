"""Several engines behind one endpoint: the least busy one answers, streams pass, a dead one is passed over."""

import asyncio

import httpx
import pytest
from aurora_core.online.endpoint import Balancer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

NAMES = ("http://a", "http://b")


class Engines(httpx.AsyncBaseTransport):
    """Engines by host name."""

    def __init__(self):
        self.dead, self.calls = set(), []

        async def stream(request: Request):
            async def parts():
                yield b"data: 1\n\n"
                yield b"data: [DONE]\n\n"

            return StreamingResponse(parts(), media_type="text/event-stream")

        async def echo(request: Request):
            body = (await request.body()).decode()
            echoed = {"body": body, "key": request.headers.get("authorization"), "query": str(request.query_params)}
            return JSONResponse(echoed, 403 if body == "no" else 200)

        routes = [Route("/stream", stream, methods=["POST"]), Route("/echo", echo, methods=["POST"])]
        self.app = Starlette(routes=routes)

    async def handle_async_request(self, request):
        host = request.url.host
        self.calls.append(host)
        if host in self.dead:
            raise httpx.ConnectError("refused")
        return await httpx.ASGITransport(self.app).handle_async_request(request)


@pytest.fixture
def balanced():
    balancer, engines = Balancer(NAMES), Engines()
    balancer._client = httpx.AsyncClient(transport=engines)
    return balancer, engines


def client(balancer):
    return httpx.AsyncClient(transport=httpx.ASGITransport(balancer.app()), base_url="http://users")


def test_what_is_asked_and_answered_passes_as_it_is(balanced):
    async def ask():
        async with client(balanced[0]) as users:
            headers = {"authorization": "Bearer k"}
            good = await users.post("/echo?x=1", content="hello", headers=headers)
            return good, await users.post("/echo", content="no")

    good, refused = asyncio.run(ask())
    assert good.json() == {"body": "hello", "key": "Bearer k", "query": "x=1"}
    assert refused.status_code == 403


def test_the_least_busy_engine_is_asked(balanced):
    balancer, engines = balanced

    async def ask():
        balancer._running["http://a"] = 3
        async with client(balancer) as users:
            await users.post("/echo", content="1")
            balancer._running["http://b"] = 5
            await users.post("/echo", content="2")

    asyncio.run(ask())
    assert engines.calls == ["b", "a"]
    assert balancer._running == {"http://a": 3, "http://b": 5}, "what ended is no longer counted"


def test_a_dead_engine_is_passed_over(balanced):
    balancer, engines = balanced

    async def ask():
        async with client(balancer) as users:
            engines.dead = {"a"}
            one = await users.post("/echo", content="1")
            engines.dead = {"a", "b"}
            return one, await users.post("/echo", content="2")

    one, none = asyncio.run(ask())
    assert (one.status_code, none.status_code) == (200, 503)
    assert none.json() == {"error": "no engine answers now"}
    assert not +balancer._running


def test_a_stream_passes_part_by_part(balanced):
    """Through the ASGI interface itself, because httpx's client for it waits for the end of an answer."""
    balancer, _ = balanced
    sent = []

    async def run():
        requests = asyncio.Queue()
        requests.put_nowait({"type": "http.request", "body": b"", "more_body": False})

        async def send(message):
            if message["type"] == "http.response.body" and message["body"]:
                sent.append(message["body"])

        scope = {"type": "http", "method": "POST", "path": "/stream", "query_string": b"", "headers": []}
        await balancer.app()(scope, requests.get, send)

    asyncio.run(asyncio.wait_for(run(), 10))
    assert b"".join(sent) == b"data: 1\n\ndata: [DONE]\n\n"
