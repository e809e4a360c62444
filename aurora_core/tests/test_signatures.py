"""Agents do what someone with the key asks of them, once; callers believe nobody without it."""

from contextlib import closing
from dataclasses import replace
from threading import Thread

import pytest
import uvicorn
from aurora_core.agent import signatures
from aurora_core.agent.app import make
from aurora_core.agent.client import AgentClient
from aurora_core.agent.engine import Engine
from aurora_core.errors import EngineError
from aurora_core.weights.store import WeightsStore
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

KEY, NAME = "secret", "chat-engine-1"
READS = ["/v1/versions", "/v1/live", "/v1/training", "/v1/volume"]
CHANGES = ["/v1/load", "/v1/steps", "/v1/sample-rate", "/v1/record"]


@pytest.fixture
def app(tmp_path):
    engine = Engine("http://127.0.0.1:1", "admin")
    yield make(WeightsStore(tmp_path), engine, KEY, name=NAME)
    engine.close()


@pytest.fixture
def client(app):
    with TestClient(app) as client:
        yield client


def ask(client, header, path="/v1/versions", method="GET", content=b""):
    return client.request(method, path, content=content, headers={"Authorization": header} if header else {})


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"Bearer {KEY}",
        KEY,
        signatures.sign("another key", NAME, "GET", "/v1/versions", b"").header(),
        signatures.sign(KEY, "chat-engine-2", "GET", "/v1/versions", b"").header(),
        signatures.sign(KEY, NAME, "POST", "/v1/versions", b"").header(),
        signatures.sign(KEY, NAME, "GET", "/v1/live", b"").header(),
        signatures.sign(KEY, NAME, "GET", "/v1/versions", b"").header() + " ",
    ],
)
def test_who_did_not_sign_for_this_request_and_agent_is_refused_and_gets_nothing_signed(client, header):
    answer = ask(client, header)
    assert answer.status_code == 401
    assert signatures.ANSWER_HEADER not in answer.headers


@pytest.mark.parametrize(("method", "path"), [("GET", path) for path in READS] + [("POST", path) for path in CHANGES])
def test_every_route_wants_a_signature(client, method, path):
    assert ask(client, "", path, method).status_code == 401


def test_no_part_of_a_signed_request_can_be_changed():
    signed = signatures.sign(KEY, NAME, "POST", "/v1/load", b"{}")
    verifier = signatures.Verifier(KEY, NAME)
    assert verifier.by_key(signed, "POST", "/v1/load")
    changed = (
        replace(signed, time=signed.time + 1),
        replace(signed, nonce="0" * 32),
        replace(signed, body="0" * 64),
        replace(signed, signature="0" * 64),
    )
    assert not any(verifier.by_key(one, "POST", "/v1/load") for one in changed)


def test_another_body_than_the_signed_one_is_refused(client):
    signed = signatures.sign(KEY, NAME, "POST", "/v1/steps", b'{"steps": 0}')
    answer = ask(client, signed.header(), "/v1/steps", "POST", b'{"steps": 7}')
    assert answer.status_code == 401
    assert "not the one that was signed" in answer.json()["error"]


def test_a_body_longer_than_any_of_ours_is_not_read(client):
    content = b" " * (1 << 20) + b"{}"
    header = signatures.sign(KEY, NAME, "POST", "/v1/steps", content).header()
    answer = ask(client, header, "/v1/steps", "POST", content)
    assert answer.status_code == 401
    assert "longer than" in answer.json()["error"]


def test_a_request_that_was_recorded_is_refused_when_it_comes_again(client):
    header = signatures.sign(KEY, NAME, "GET", "/v1/versions", b"").header()
    assert ask(client, header).status_code == 200
    again = ask(client, header)
    assert again.status_code == 401
    assert "answered before" in again.json()["error"]


@pytest.mark.parametrize(("hours", "words"), [(-1, "60 min behind"), (1, "60 min ahead of")])
def test_clocks_that_differ_are_named(monkeypatch, client, hours, words):
    real = signatures.time.time
    monkeypatch.setattr(signatures.time, "time", lambda: real() + hours * 3600)
    header = signatures.sign(KEY, NAME, "GET", "/v1/versions", b"").header()
    monkeypatch.undo()
    assert words in ask(client, header).json()["error"]


@given(waits=st.lists(st.floats(0, 400), max_size=40), repeats=st.lists(st.integers(0, 40), max_size=40))
def test_each_request_is_taken_at_most_once_however_long_it_was_kept(waits, repeats):
    clock = 1e9
    verifier = signatures.Verifier(KEY, NAME, lambda: clock)
    sent, taken = [], []
    for index, wait in enumerate(waits):
        clock += wait
        sent.append(signatures.Signed(int(clock), f"{index:032x}", "", ""))
        for one in [sent[-1], *(sent[which] for which in repeats if which < len(sent))]:
            try:
                verifier.admit(one)
            except signatures.Refused:
                continue
            taken.append(one.nonce)
    assert len(taken) == len(set(taken)) == len(sent)
    # What is remembered does not grow with the requests of a day.
    kept = [one for one in sent if abs(one.time - clock) <= signatures.WINDOW_SECONDS]
    assert len(verifier._seen) <= len(kept)


@given(parts=st.lists(st.text(), min_size=1, max_size=4), cut=st.integers(0, 10))
def test_parts_that_are_divided_elsewhere_are_signed_differently(parts, cut):
    text = "".join(parts)
    other = [text[:cut], text[cut:]]
    if other != parts:
        assert signatures._signature(KEY, *parts) != signatures._signature(KEY, *other)


@pytest.fixture
def served(app):
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_caller_with_key_and_name_is_served(served):
    with closing(AgentClient(served, KEY, name=NAME)) as client:
        assert client.contents().versions == ()
        with pytest.raises(EngineError, match="version 3"):
            client.load(3)


@pytest.mark.parametrize(("key", "name"), [("another", NAME), (KEY, "chat-engine-2")])
def test_a_caller_believes_no_answer_without_the_key(served, key, name):
    with (
        closing(AgentClient(served, key, name=name)) as client,
        pytest.raises(EngineError, match="with status 401, and not with this deployment's key"),
    ):
        client.contents()
