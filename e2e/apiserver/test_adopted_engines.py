"""Engine pods of another owner's Deployment: patched, asked, and the only ones that are."""

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import apiserver_support
import pytest
from apiserver_support import GOOD, kubectl
from aurora_core.agent.signatures import SCHEME
from host import wait
from operated import Operator, prepare

SPACE = "adoption"
AGENT_PORT = 30001
FIT, BARE = "127.0.0.75", "127.0.0.76"
LABELS = {"app": "sglang"}


def read(kind, name):
    return apiserver_support.read(SPACE, kind, name)


def condition(kind):
    found = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def done(*arguments, stdin=None):
    called = kubectl(*arguments, "-n", SPACE, stdin=stdin)
    assert called.returncode == 0, called.stderr
    return called.stdout


def ready_pod(name, address, template):
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": name}}
    done("create", "-f", "-", stdin=json.dumps(body | {"spec": template["spec"]}))
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready}
    done("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


@pytest.fixture
def heard():
    """The signatures that arrive where an agent would listen."""
    arrived = {FIT: [], BARE: []}

    class Agent(BaseHTTPRequestHandler):
        def do_GET(self):
            arrived[self.server.server_address[0]].append(self.headers.get("Authorization"))
            self.send_error(503)

        def log_message(self, *_):
            pass

    servers = [ThreadingHTTPServer((address, AGENT_PORT), Agent) for address in arrived]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    yield arrived
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_patched_deployment_s_pods_are_asked_and_no_others(heard, tmp_path):
    kubectl("create", "namespace", SPACE)
    done("create", "serviceaccount", "default")
    serving = {"adopt": {"selector": LABELS}}
    body = GOOD | {"metadata": {"name": "chat"}, "spec": {**GOOD["spec"], "serving": serving}}
    plain = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "main", "image": "none/sglang"}]}}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sglang"},
        "spec": {"selector": {"matchLabels": LABELS}, "template": plain},
    }
    running = Operator.start(SPACE, tmp_path / "log")
    try:
        done("apply", "-f", "-", stdin=json.dumps(body))
        done("create", "-f", "-", stdin=json.dumps(theirs))
        wait("a job", lambda: read("job", "chat-init"), 20)
        prepare(SPACE, "job/chat-init")
        wait("the trainer", lambda: read("job", "chat-trainer"), 20)
        assert read("deployment", "chat-engine") is None
        assert read("service", "chat") is None
        wait("nothing is adopted", lambda: condition("Available").get("reason") == "NothingAdopted", 20)
        command = [sys.executable, "-m", "aurora_operator.cli.main", "adopt", "chat", "-n", SPACE]
        command += ["--deployment", "sglang", "--container", "main", "--engine-image", "none/engine"]
        patch = tmp_path / "patch.yaml"
        patch.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        done("patch", "deployment", "sglang", "--patch-file", str(patch))
        template = read("deployment", "sglang")["spec"]["template"]
        assert [one["name"] for one in template["spec"]["containers"]] == ["main", "agent"]
        ready_pod("sglang-bare", BARE, plain)
        wait("what has no agent is named", lambda: "sglang-bare" in condition("Available").get("message", ""), 20)
        ready_pod("sglang-1", FIT, template)
        wait("its agent is asked", lambda: heard[FIT], 20)
        assert heard[FIT][0].startswith(SCHEME)
        wait("it is ready", lambda: condition("Available").get("reason") == "AllReady", 20)
        shown = read("specdep", "chat")["status"]["serving"]
        assert (shown["replicas"], shown["ready"], shown["selector"]) == (1, 1, "app=sglang")
        assert condition("Degraded")["reason"] == "AgentSilent", "its answers are not signed"
        assert heard[BARE] == []
    finally:
        running.stop()
        kubectl("delete", "namespace", SPACE, "--wait=false")
