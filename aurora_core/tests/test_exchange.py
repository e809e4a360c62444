"""Answers of servers that are slow, huge, compressed or no HTTP, over real connections of the loopback interface."""

import gzip
import json
import socket
import ssl
import threading
import time
import tracemalloc
from contextlib import closing, contextmanager

import pytest
from aurora_core.budget import ExchangeError, within
from aurora_core.exchange import Exchange, Limits, parsed
from hypothesis import given, settings
from hypothesis import strategies as st

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
LIMITS = Limits(seconds=1.0, connect_seconds=0.5, size=1 << 20)


@contextmanager
def server(answer):
    """Hands each connection to ``answer``, once its request was read; yields the URL."""
    done = threading.Event()

    def one(connection):
        with connection:
            try:
                connection.recv(1 << 16)
                answer(connection, done)
            except OSError:
                pass

    def accept(listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            done.set()
            # Closing alone wakes nobody who waits in accept.
            listening.shutdown(socket.SHUT_RDWR)


def http(body, *headers):
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def asked(answer, limits=LIMITS, **headers):
    with server(answer) as url, closing(Exchange(url, headers, PLAIN, limits)) as exchange:
        return exchange.json("GET", "/v1/live")


def drip(start):
    def answer(connection, done):
        connection.sendall(start)
        while not done.wait(0.02):
            connection.sendall(b"a")

    return answer


def silent(_, done):
    done.wait(30)


def endless(connection, done):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not done.is_set():
        connection.sendall(b"[" * (1 << 16))


def test_an_answer_is_read():
    assert asked(lambda connection, _: connection.sendall(http(b'{"a": 1}'))) == (200, {"a": 1})


@pytest.mark.parametrize(
    "answer",
    [silent, drip(b""), drip(b"HTTP/1.1 200 OK\r\nX-Long: "), drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")],
    ids=["silent", "slow status line", "slow header", "slow body"],
)
def test_the_deadline_is_of_the_exchange_and_not_of_each_read(answer):
    began = time.monotonic()
    with pytest.raises(ExchangeError, match="within 1 s") as caught:
        asked(answer)
    assert caught.value.reason == "late"
    assert time.monotonic() - began < 5


def test_requests_of_one_block_share_its_time():
    began = time.monotonic()
    with server(silent) as url, closing(Exchange(url, {}, PLAIN, Limits(60))) as exchange, within(0.5):
        for _ in range(5):
            with pytest.raises(ExchangeError):
                exchange.json("GET", "/")
    assert time.monotonic() - began < 5


def test_an_endless_answer_is_cut_off():
    with pytest.raises(ExchangeError, match="too large") as caught:
        asked(endless, Limits(20))
    assert caught.value.reason == "large"


def test_endless_headers_are_cut_off():
    def answer(connection, done):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not done.is_set():
            connection.sendall(b"X: " + b"a" * 60000 + b"\r\n")

    with pytest.raises(ExchangeError):
        asked(answer, Limits(20))


def test_a_compressed_answer_is_refused_and_never_unpacked():
    bomb = gzip.compress(b'"' + b"a" * (64 << 20) + b'"', 1)
    tracemalloc.start()
    try:
        with pytest.raises(ExchangeError, match="compressed") as caught:
            asked(lambda connection, _: connection.sendall(http(bomb, "Content-Encoding: gzip")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "encoded"
    assert peak < 16 << 20


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[]," * 400_000, b"0," * 1_500_000, b"not json", b"\xff\xfe\x00", b""]
)
def test_what_is_no_json_or_has_too_many_parts_is_refused(body):
    with pytest.raises(ExchangeError):
        parsed(body)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_what_is_no_http_is_refused(answer):
    with pytest.raises(ExchangeError):
        asked(lambda connection, _: connection.sendall(answer))


def test_a_server_that_is_not_there_is_reported_as_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with (
        closing(Exchange(url, {}, PLAIN, LIMITS)) as exchange,
        pytest.raises(ExchangeError, match="Connection refused") as caught,
    ):
        exchange.json("GET", "/")
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize("url", ["", "http://", "ftp://host", "http://host:99999", "http://a b"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ExchangeError), closing(Exchange(url, {}, PLAIN, LIMITS)) as exchange:
        exchange.json("GET", "/")


@given(value=st.text(min_size=12, max_size=60))
@settings(deadline=None, max_examples=50)
def test_the_value_of_a_header_is_in_no_error(value):
    secret = f"Bearer s3cr3t{value}"
    with pytest.raises(ExchangeError) as caught:
        asked(lambda connection, _: connection.sendall(b"nonsense\r\n\r\n"), Authorization=secret)
    error = caught.value
    while error is not None:
        assert "s3cr3t" not in str(error) + repr(error)
        error = error.__cause__ or error.__context__


def test_a_connection_is_used_again_with_a_budget_of_its_own():
    connections = []

    def answer(connection, _):
        connections.append(connection)
        for _ in range(2):
            connection.sendall(http(json.dumps("x" * 600_000).encode()))
            if len(connection.recv(1 << 16)) == 0:
                return

    with server(answer) as url, closing(Exchange(url, {}, PLAIN, LIMITS)) as exchange:
        for _ in range(2):
            assert len(exchange.json("GET", "/")[1]) == 600_000
    assert len(connections) == 1
