"""In the place of kubelet, volumes and engines: the operator's pods run, and agents answer for them, signed as real.

Whatever controllers make pods of is real; what is in a pod is not. A volume is a few versions and the record of
promotion, and is kept as long as its claim.
"""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from apiserver_support import client, kubectl, read
from aurora_core.agent.signatures import ANSWER_HEADER, Signed, sign_answer
from aurora_core.protocol.agent import Contents, Loaded, Record, Route, VersionInfo, Volume
from aurora_core.protocol.engine import CaptureState, DraftState, EngineState
from aurora_core.protocol.message import Message
from aurora_core.protocol.trainer import TrainerStatus
from aurora_operator.render.config import AGENT_PORT
from aurora_operator.render.identity import COMPONENT, INSTANCE, MANAGED_BY

EVERY_SECONDS = 0.5
GIB = 1 << 30


def _version(number):
    return VersionInfo(version=number, digest=f"digest-{number}")


def _now_ready():
    return [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady")]


class Engine:
    """What one engine pod serves, by its agent."""

    def __init__(self, key, volume):
        self.key, self._volume = key, volume
        self._live, self._steps, self._rate = 0, 0, 0.0

    @property
    def live(self):
        """The version that it serves."""
        return self._live

    def answer(self, path, sent):
        """A route's answer; ``sent`` is its body, None where there is none."""
        if path == Route.LOAD:
            self._live = sent["version"]
            return Loaded(live=self._live, stalled_seconds=0.01)
        if path == Route.STEPS:
            self._steps = sent["steps"]
        elif path == Route.SAMPLE_RATE:
            self._rate = sent["rate"]
        elif path == Route.RECORD and sent is not None:
            self._volume["record"] = Record.model_validate(sent)
        answers = {
            Route.LIVE: lambda: EngineState(
                draft=DraftState(live=self._live), steps=self._steps, capture=CaptureState(rate=self._rate)
            ),
            Route.VERSIONS: lambda: Contents(versions=self._volume["versions"], record=self._volume["record"]),
            Route.VOLUME: lambda: Volume(free=50 * GIB, total=100 * GIB),
            Route.TRAINING: lambda: TrainerStatus(step=1, ranks=1),
        }
        return answers.get(path, Message)()


class ServingPods:
    """Says that pods of a namespace run, and answers as their agents, until it is stopped.

    Args:
        namespace: of the pods.
        versions: on a volume that a claim gets.
    """

    def __init__(self, namespace, versions=(0, 1)):
        self._namespace, self._published = namespace, versions
        self._engines, self._volumes, self._stop = {}, {}, threading.Event()
        pods = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self):
                engine = pods._engines[self.connection.getsockname()[0]]
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                text = engine.answer(self.path, json.loads(body) if body else None)
                text = text.model_dump_json(by_alias=True).encode()
                nonce = Signed.read(self.headers["Authorization"]).nonce
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header(ANSWER_HEADER, sign_answer(engine.key, nonce, 200, text))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                self._answer()

            def do_POST(self):
                self._answer()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("", AGENT_PORT), Handler)
        self._threads = [threading.Thread(target=run) for run in (self._server.serve_forever, self._run)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._stop.wait(EVERY_SECONDS):
            for claim in client().list("v1", "PersistentVolumeClaim", self._namespace, MANAGED_BY):
                if (claim.get("status") or {}).get("phase") != "Bound":
                    self._status("pvc", claim, {"phase": "Bound"})
            for pod in client().list("v1", "Pod", self._namespace, MANAGED_BY):
                if (pod.get("status") or {}).get("phase") == "Pending":
                    self._begins(pod)

    def _begins(self, pod):
        labels = pod["metadata"]["labels"]
        if labels[COMPONENT] == "init":
            self._status("pod", pod, {"phase": "Succeeded"})
            return
        status = {"phase": "Running", "conditions": _now_ready()}
        if labels[COMPONENT] == "engine":
            address = self.reached(pod)
            key = read(self._namespace, "secret", f"{labels[INSTANCE]}-keys")["data"]["agent"]
            self._engines[address] = Engine(base64.b64decode(key).decode(), self._volume(labels[INSTANCE]))
            status |= {"podIP": address, "podIPs": [{"ip": address}]}
        self._status("pod", pod, status)

    def reached(self, pod):  # noqa: ARG002 (who overrides it asks)
        """The address of an engine's pod."""
        return f"127.0.1.{len(self._engines) + 1}"

    def engine(self, address):
        """What serves at an address."""
        return self._engines[address]

    def publish(self, version):
        """Every volume has this version, too."""
        for one in self._volumes.values():
            one["versions"] += (_version(version),)

    def _volume(self, name):
        claim = read(self._namespace, "persistentvolumeclaim", f"{name}-weights")["metadata"]["uid"]
        versions = tuple(_version(one) for one in self._published)
        return self._volumes.setdefault(claim, {"versions": versions, "record": None})

    def _status(self, kind, body, status):
        patch = json.dumps({"status": status})
        name = body["metadata"]["name"]
        kubectl("patch", kind, name, "-n", self._namespace, "--subresource=status", "--type=merge", "-p", patch)
