"""The agent's endpoints: who may call, and what is answered. No engine runs behind them; e2e has a real one."""

import json
import socket
import threading
import time
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aurora_core.agent.app import make
from aurora_core.agent.client import AgentClient
from aurora_core.agent.engine import Engine
from aurora_core.agent.signatures import sign
from aurora_core.config import DraftConfig
from aurora_core.errors import EngineError
from aurora_core.training.init import ensure_first
from aurora_core.weights.store import WeightsStore
from http_support import Replies
from starlette.testclient import TestClient

KEY = "secret"
NAME = "pod"


def get(client, path):
    return client.get(path, headers={"Authorization": sign(KEY, NAME, "GET", path, b"").header()})


def post(client, path, body):
    content = json.dumps(body).encode()
    header = sign(KEY, NAME, "POST", path, content).header()
    return client.post(path, content=content, headers={"Authorization": header})


@pytest.fixture
def client(tmp_path, target):
    store = WeightsStore(tmp_path)
    ensure_first(store, DraftConfig(draft_vocab_size=40), target, 0)
    engine = Engine("http://127.0.0.1:1", "admin")
    status = tmp_path / "status.json"
    status.write_text('{"step": 3}')
    labels = {"speculator": "ns/name", "engine": "pod"}
    with TestClient(make(store, engine, KEY, name=NAME, training=status, labels=labels)) as client:
        yield client
    engine.close()


def test_it_reports_how_full_the_volume_is(client):
    reported = get(client, "/v1/volume").json()
    assert 0 < reported["free"] < reported["total"]
    assert "aurora_volume_bytes{" in client.get("/metrics").text


def test_versions_report_what_they_are(client):
    versions = get(client, "/v1/versions").json()["versions"]
    assert [v["version"] for v in versions] == [0]
    assert versions[0]["bytes"] > 0


def test_training_reports_what_the_trainer_wrote(client):
    assert get(client, "/v1/training").json()["step"] == 3


def test_an_unknown_version_is_a_conflict_and_reported_as_one(client):
    answer = post(client, "/v1/load", {"version": 9})
    assert answer.status_code == 409
    assert "version 9" in answer.json()["error"]


@pytest.mark.parametrize("body", [{}, {"version": -1}, {"version": "x"}, {"version": 0, "force": True}])
def test_a_bad_body_is_named(client, body):
    assert post(client, "/v1/load", body).status_code == 422


def test_a_dead_engine_is_reported_and_not_guessed(client):
    answer = post(client, "/v1/load", {"version": 0})
    assert answer.status_code == 502
    assert 'aurora_engine_up{engine="pod",speculator="ns/name"} 0.0' in client.get("/metrics").text


def test_liveness_needs_no_key(client):
    assert client.get("/healthz").json() == {"alive": True}


def test_an_agent_without_a_key_does_not_start(tmp_path):
    engine = Engine("http://127.0.0.1:1", "admin")
    with pytest.raises(EngineError, match="AURORA_AGENT_TOKEN"):
        make(WeightsStore(tmp_path), engine, "")
    engine.close()


def test_a_caller_of_a_node_that_is_gone_is_answered_soon(monkeypatch):
    monkeypatch.setattr("aurora_core.agent.client._CONNECT_SECONDS", 0.2)
    with socket.socket() as gone, ExitStack() as queue:
        gone.bind(("127.0.0.1", 0))
        gone.listen(0)
        # Nobody accepts: once the queue is full, the kernel answers no SYN, as a machine without power would not.
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(gone.getsockname())
        began = time.monotonic()
        with (
            closing(AgentClient(f"http://127.0.0.1:{gone.getsockname()[1]}", KEY, timeout=60)) as client,
            pytest.raises(EngineError, match="does not answer"),
        ):
            client.live()
        assert time.monotonic() - began < 10


class Open(Replies, BaseHTTPRequestHandler):
    """An engine that answers control requests of anyone, as SGLang without the plugin does."""

    def do_GET(self):
        self._reply(200, {})

    def log_message(self, *_):
        pass


def test_an_engine_that_anyone_could_control_is_reported_and_not_believed():
    with ThreadingHTTPServer(("127.0.0.1", 0), Open) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine = Engine(f"http://127.0.0.1:{server.server_address[1]}", "admin")
        with pytest.raises(EngineError, match="answers control requests without a key"):
            engine.state()
        engine.close()
        server.shutdown()
