"""Servers answer at IPv4 and IPv6 where a machine has both, and at IPv4 where it has nothing else."""

import http.client
import socket
import threading
import urllib.request

import httpx
import pytest
import uvicorn
from aurora_core.agent.engine import Engine
from aurora_core.config import SamplesConfig
from aurora_core.errors import EngineError
from prometheus_client import CollectorRegistry, start_http_server

from aurora_core import listening

LOOPBACK = ("127.0.0.1", "[::1]")


def without_ipv6(monkeypatch):
    """As a kernel that was started without IPv6 has no sockets of that family."""
    make = socket.socket

    def refused(family=socket.AF_INET, *more, **named):
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return make(family, *more, **named)

    monkeypatch.setattr(socket, "socket", refused)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def mooncake():
    """The transport; a contributor's environment has no store."""
    return pytest.importorskip("aurora_core.samples.mooncake")


async def app(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"here"})


def served(host, loop, addresses):
    """What a server at this host answers at these addresses, None where nobody listens."""
    port, found = free_port(), {}
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="error", lifespan="off", loop=loop))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        for address in addresses:
            try:
                found[address] = httpx.get(f"http://{address}:{port}", trust_env=False).text
            except httpx.ConnectError:
                found[address] = None
    finally:
        server.should_exit = True
        thread.join()
    return found


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.sglang)])
def test_servers_of_asyncio_answer_at_both_families(loop):
    assert served(listening.host(listening.ALL), loop, LOOPBACK) == dict.fromkeys(LOOPBACK, "here")


def test_without_ipv6_they_answer_at_ipv4(monkeypatch):
    without_ipv6(monkeypatch)
    assert {listening.host(listening.ALL), listening.wildcard()} == {"0.0.0.0"}  # noqa: S104 (that is the point)
    assert served(listening.host(listening.ALL), "asyncio", LOOPBACK[:1]) == {"127.0.0.1": "here"}


def test_a_named_address_stays_the_only_one():
    assert listening.host("127.0.0.1") == "127.0.0.1"
    assert served("127.0.0.1", "asyncio", LOOPBACK) == {"127.0.0.1": "here", "[::1]": None}


def test_metrics_answer_at_both_families():
    port = free_port()
    server, thread = start_http_server(port, listening.wildcard(), CollectorRegistry())
    try:
        for address in LOOPBACK:
            with urllib.request.urlopen(f"http://{address}:{port}/metrics") as answer:
                assert answer.status == http.client.OK
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("url", "address"), [("127.0.0.1:50051", "127.0.0.1"), ("[::1]:50051", "::1"), ("http://[::1]:80/metadata", "::1")]
)
def test_a_store_of_either_family_is_given_an_address_of_that_family(mooncake, url, address):
    assert mooncake.own_address(url) == address


def test_the_trainer_listens_at_all_addresses_for_a_service_and_at_its_own_for_itself(mooncake):
    assert mooncake.endpoint("http://chat-trainer:18080") == (listening.host(listening.ALL), 18080)
    assert mooncake.endpoint("http://127.0.0.1:1234") == ("127.0.0.1", 1234)


def test_no_proxy_is_asked_for_what_is_in_the_pod_or_the_cluster(mooncake, monkeypatch):
    """Given proxies in the environment, when the agent asks its engine and a sample is announced, then directly."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(EngineError):
            Engine("http://127.0.0.1:1", "key").state()
        config = SamplesConfig(transport="Mooncake", trainer_url="http://127.0.0.1:1")
        sink = mooncake.MooncakeSink(config, "token")
        with pytest.raises(httpx.ConnectError):
            sink._http.get("/")
        proxy.settimeout(0.2)
        with pytest.raises(TimeoutError):
            proxy.accept()
