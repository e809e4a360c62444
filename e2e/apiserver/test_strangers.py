"""A pod with a deployment's labels that the operator did not make gets no credential, and proves nothing."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import apiserver_support
import pytest
from apiserver_support import GOOD, kubectl
from aurora_core.agent.signatures import SCHEME
from host import wait
from operated import Operator, prepare

SPACE = ("-n", "strangers")
AGENT_PORT = 30001
OWN, STRANGER, THIEF = "127.0.0.71", "127.0.0.72", "127.0.0.73"
LABELS = {
    "app.kubernetes.io/name": "aurora",
    "app.kubernetes.io/instance": "chat",
    "app.kubernetes.io/component": "engine",
    "app.kubernetes.io/managed-by": "aurora-operator",
}
TEMPLATE = {"spec": {"containers": [{"name": "engine", "image": "none/engine"}]}}


def read(kind, name):
    return apiserver_support.read(SPACE[1], kind, name)


def condition(kind):
    found = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def create(body):
    done = kubectl("create", *SPACE, "-f", "-", "-o", "json", stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def owner(kind, body):
    metadata = body["metadata"]
    return {"apiVersion": "apps/v1", "kind": kind, "name": metadata["name"], "uid": metadata["uid"], "controller": True}


def replica_set(name, *owners):
    return create(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": name, "labels": LABELS, "ownerReferences": list(owners)},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}} | TEMPLATE,
            },
        }
    )


def ready_pod(name, address, *owners):
    metadata = {"name": name, "labels": LABELS, "ownerReferences": list(owners)}
    create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata} | TEMPLATE)
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    patch = json.dumps({"status": status})
    done = kubectl("patch", "pod", name, *SPACE, "--subresource=status", "--type=merge", "-p", patch)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def heard():
    """The signatures that arrive at each address where an agent would listen."""
    credentials = {OWN: [], STRANGER: [], THIEF: []}

    class Agent(BaseHTTPRequestHandler):
        def do_GET(self):
            credentials[self.server.server_address[0]].append(self.headers.get("Authorization"))
            self.send_error(503)

        def log_message(self, *_):
            pass

    servers = [ThreadingHTTPServer((address, AGENT_PORT), Agent) for address in credentials]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    yield credentials
    for server in servers:
        server.shutdown()
        server.server_close()


def test_only_pods_that_the_operator_s_deployment_made_are_asked(heard, tmp_path):
    kubectl("create", "namespace", SPACE[1])
    # Without controllers nobody else makes it, and no pod is taken without it.
    kubectl("create", "serviceaccount", "default", *SPACE)
    log = tmp_path / "log"
    running = Operator.start(SPACE[1], log)
    try:
        assert (
            kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(GOOD | {"metadata": {"name": "chat"}})).returncode == 0
        )
        wait("a job", lambda: read("job", "chat-init"), 20)
        prepare(SPACE[1], "job/chat-init")
        wait("the engines' deployment", lambda: read("deployment", "chat-engine"), 20)
        foreign = replica_set("chat-engine-foreign")
        ready_pod("chat-engine-bare", STRANGER)
        ready_pod("chat-engine-foreign-1", THIEF, owner("ReplicaSet", foreign))
        own = replica_set("chat-engine-own", owner("Deployment", read("deployment", "chat-engine")))
        ready_pod("chat-engine-own-1", OWN, owner("ReplicaSet", own))
        wait("the own pod is asked", lambda: heard[OWN], 20)
        assert heard[OWN][0].startswith(SCHEME)
        wait("strangers are reported", lambda: "chat-engine-bare" in condition("Degraded").get("message", "")
             or condition("Degraded").get("reason") == "AgentSilent", 60)  # fmt: skip
        kubectl("delete", "pod", "chat-engine-own-1", *SPACE, "--force", "--grace-period=0")
        # A pod is a stranger half a minute after it was made, and these were made one after the other.
        both = ("chat-engine-bare", "chat-engine-foreign-1")
        wait("both are reported", lambda: all(name in condition("Degraded").get("message", "") for name in both), 60)
        assert condition("Degraded")["reason"] == "ForeignPods"
        assert read("specdep", "chat")["status"]["serving"]["ready"] == 0
        assert heard[STRANGER] == heard[THIEF] == []
        assert running.metric("aurora_operator_watch_failures_total") == 0
    finally:
        running.stop()
        print(log.read_text())
        kubectl("delete", "namespace", SPACE[1], "--wait=false")
