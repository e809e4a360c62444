"""What a real API server does not take, or not in time, keeps no pod from what it should serve.

The agent is a stand-in that answers as one does; all else is real.
"""

import json
import secrets
import socket
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from apiserver_support import GOOD, kubectl
from aurora_core.agent.signatures import ANSWER_HEADER, Signed, sign_answer
from aurora_core.protocol.agent import Loaded, Route
from aurora_core.protocol.message import Message
from aurora_operator.api.reading import read
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.connection import connect
from aurora_operator.promotion.progress import Note, Pod
from aurora_operator.reconcile.execute import execute
from aurora_operator.reconcile.plan import Load, Plan
from aurora_operator.reconcile.snapshot import Snapshot
from aurora_operator.render.config import AGENT_PORT
from aurora_operator.render.identity import Images
from host import wait
from operated import Operator
from ports import free_port
from webhook import certificate, configure, remove, rule

KEY = secrets.token_urlsafe(24)
"""Of the agent."""
SOON = 2.0
"""Seconds in which a pod is asked, whatever the API server does."""


class Agent:
    """Answers every order, and notes when it came."""

    def __init__(self):
        self.orders = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                agent.orders.append((self.path, time.monotonic()))
                answer = Loaded(live=2, stalled_seconds=0.1) if self.path == Route.LOAD else Message()
                text = answer.model_dump_json(by_alias=True).encode()
                nonce = Signed.read(self.headers["Authorization"]).nonce
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header(ANSWER_HEADER, sign_answer(KEY, nonce, 200, text))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", AGENT_PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Silent:
    """Takes connections and never answers, as a webhook does that hangs."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def stop(self):
        self._socket.close()


@pytest.fixture
def agent():
    made = Agent()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def namespace():
    name = f"blocked-{secrets.token_hex(4)}"
    assert kubectl("create", "namespace", name).returncode == 0
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def snapshot(namespace):
    body = GOOD | {"metadata": {"name": "chat", "namespace": namespace}}
    made = json.loads(kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body)).stdout)
    seen = read(made)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat-keys", "namespace": namespace}}
    secret["stringData"] = {"agent": KEY}
    children = {("v1", "Secret", "chat-keys"): secret}
    now, images = datetime.now(UTC), Images("e", "t")
    return Snapshot(body=made, spec=seen.spec, status=seen.status, now=now, images=images, children=children)


def config(namespace, name, **more):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}, **more}


def service(namespace):
    metadata = {"name": "fine", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def rollback(*apply):
    return Plan(
        notes=(Note("Warning", "RolledBack", "to version 2"),),
        apply=apply,
        loads=(Load(Pod("a", "127.0.0.1", 3, 3, 1.0), 2, 3, 1.0),),
    )


def carried_out(agent, snapshot, plan):
    """Problems, and after how many seconds the pod was asked to load."""
    began = time.monotonic()
    problems = execute(Cluster(connect()), snapshot, plan)
    ((_, at),) = [one for one in agent.orders if one[0] == Route.LOAD]
    return problems, at - began


def blocked(namespace, port, folder, *resources):
    """Have every write of these resources ask a webhook at a port."""
    _, cert = certificate(folder)
    url = f"https://127.0.0.1:{port}/"
    return configure("Validating", namespace, url, cert.read_bytes(), rule(*resources), seconds=8)


def in_force(namespace):
    """A changed webhook is asked some moments after it was stored; a dry run says when."""
    done = kubectl("create", "configmap", f"probe-{secrets.token_hex(4)}", "-n", namespace, "--dry-run=server")
    return done.returncode != 0


def test_a_rollback_does_not_wait_for_a_webhook_that_hangs(agent, snapshot, namespace, tmp_path):
    silent = Silent()
    name = blocked(namespace, silent.port, tmp_path, "configmaps", "events")
    try:
        wait("the webhook", lambda: in_force(namespace), 60)
        plan = rollback(config(namespace, "a"), service(namespace), config(namespace, "b"))
        began = time.monotonic()
        problems, asked = carried_out(agent, snapshot, plan)
        print(f"asked after {asked:.2f} s; all ended after {time.monotonic() - began:.1f} s")
        assert asked < SOON
        assert time.monotonic() - began > 2 * SOON, "the webhook did not hang"
        assert [problem.reason for problem in problems] == ["ApplyFailing"] * 2
        assert all("failed calling webhook" in problem.message for problem in problems)
        assert kubectl("get", "service", "fine", "-n", namespace).returncode == 0
    finally:
        remove("Validating", name)
        silent.stop()


def test_a_webhook_that_is_down_is_a_problem_for_now(agent, snapshot, namespace, tmp_path):
    name = blocked(namespace, free_port(), tmp_path, "configmaps", "events")
    try:
        wait("the webhook", lambda: in_force(namespace), 60)
        problems, asked = carried_out(agent, snapshot, rollback(config(namespace, "a"), service(namespace)))
        assert asked < SOON
        assert [problem.reason for problem in problems] == ["ApplyFailing"]
        assert kubectl("get", "service", "fine", "-n", namespace).returncode == 0
    finally:
        remove("Validating", name)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"toleratons": []}, "field not declared in schema"),
        ({"data": {"not a key!": "x"}}, "a valid config key"),
        ({"metadata": {"name": "Not-A-Name"}}, "RFC 1123"),
    ],
)
def test_what_no_retry_would_mend_is_refused_for_good(agent, snapshot, namespace, wrong, message):
    body = config(namespace, "wrong") | wrong
    body["metadata"] |= {"namespace": namespace}
    problems, asked = carried_out(agent, snapshot, rollback(body, service(namespace)))
    assert asked < SOON
    assert [problem.reason for problem in problems] == ["ApplyRefused"]
    assert message in problems[0].message
    assert kubectl("get", "service", "fine", "-n", namespace).returncode == 0


def test_the_resource_shows_what_fails_and_no_longer_than_it_does(namespace, tmp_path):
    name = blocked(namespace, free_port(), tmp_path, "configmaps")

    def degraded():
        reasons = (f"{{.status.conditions[?(@.type=='{kind}')].reason}}" for kind in ("Degraded", "Ready"))
        path = f"jsonpath={' '.join(reasons)}"
        return kubectl("get", "specdep", "chat", "-n", namespace, "-o", path).stdout.split()

    running = None
    try:
        wait("the webhook", lambda: in_force(namespace), 60)
        body = GOOD | {"metadata": {"name": "chat", "namespace": namespace}}
        assert kubectl("create", "-f", "-", stdin=json.dumps(body)).returncode == 0
        running = Operator.start(namespace, tmp_path / "log")
        wait("reported", lambda: degraded() == ["ApplyFailing"] * 2, 60)
        assert kubectl("get", "job", "chat-init", "-n", namespace).returncode == 0
        remove("Validating", name)
        wait("all is well", lambda: degraded() == ["AsExpected", "Preparing"], 60)
    finally:
        remove("Validating", name)
        if running is not None:
            running.stop()
