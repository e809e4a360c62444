"""Servers that are slow, huge or broken, over real sockets: each ends in an error, soon and in little memory."""

import gzip
import json
import socket
import ssl
import threading
import time
import tracemalloc
from contextlib import closing

import pytest
from aurora_core.bounded import AnswerError, BoundedClient
from hypothesis import given, settings
from hypothesis import strategies as st

SECRET = "s3cr3t-T0KEN"  # noqa: S105 (made up here)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LIMIT = 1 << 20
BOMB = gzip.compress(b" " * (64 << 20))


def send_until_closed(connection, first, more, pause):
    try:
        connection.sendall(first)
        while True:
            connection.sendall(more)
            time.sleep(pause)
    except OSError:
        pass


def dripping_body(connection):
    send_until_closed(connection, HEAD + b"Content-Length: 100000\r\n\r\n", b" ", 0.05)


def dripping_head(connection):
    send_until_closed(connection, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", 0.05)


def endless(connection):
    send_until_closed(connection, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n", 0)


def bomb(connection):
    body = BOMB
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    send_until_closed(connection, head + body, b"", 0.05)


def silent(connection):
    try:
        while connection.recv(1):
            pass
    except OSError:
        pass


def html(connection):
    body = b"<html>please log in</html>"
    connection.sendall(HEAD + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)


def deep(connection):
    body = b"[" * 100_000
    connection.sendall(HEAD + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)


@pytest.fixture
def serve():
    listeners = []

    def serve_(behave):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept():
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        behave(connection)
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve_
    for listener in listeners:
        listener.close()


def client(url, token=SECRET, seconds=0.6):
    return BoundedClient(
        url,
        headers={"Authorization": f"Bearer {token}"},
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        seconds=seconds,
        connect_seconds=0.5,
        most_bytes=LIMIT,
    )


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        (dripping_body, "within 0.6 s"), (dripping_head, "within 0.6 s"), (silent, "within 0.6 s"),
        (endless, "more than 1 MiB"), (bomb, "compresses"), (html, "no JSON"), (deep, "no JSON"),
    ],
)  # fmt: skip
def test_a_bad_server_ends_in_an_error_soon_and_in_little_memory(serve, behave, message):
    url = serve(behave)
    tracemalloc.start()
    began = time.monotonic()
    try:
        with closing(client(url)) as asked, pytest.raises(AnswerError, match=message) as refused:
            asked.request("GET", "/")
        assert time.monotonic() - began < 3
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert SECRET not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_good_server_is_read(serve):
    def good(connection):
        connection.recv(65536)
        body = json.dumps({"a": [1]}).encode()
        connection.sendall(HEAD + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)

    with closing(client(serve(good))) as asked:
        assert asked.request("GET", "/") == (200, {"a": [1]})


def test_a_port_where_nobody_listens_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with closing(client(f"http://127.0.0.1:{port}")) as asked, pytest.raises(AnswerError, match="does not answer"):
        asked.request("GET", "/")


@settings(max_examples=60, deadline=None)
@given(
    st.text(min_size=6, max_size=40) | st.just("tok\nen-123456") | st.just("-----BEGIN KEY-----\nabc\n-----END-----")
)
def test_no_error_repeats_what_the_request_carried(token):
    try:
        with closing(client("http://127.0.0.1:9", token)) as asked:
            asked.request("GET", "/")
    except AnswerError as error:
        assert token not in str(error)
        assert error.__cause__ is None or token not in repr(error.__cause__)
    except (UnicodeEncodeError, ValueError):
        # A header that cannot be made at all; callers validate credentials before.
        assert not token.isascii() or "\n" in token
