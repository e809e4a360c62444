"""Pods that requests are dealt to: each answers with its name and with the version that the operator has it serve.

No engine is in them. What they show is where a router sent a request, and which arm was there at that moment.
"""

import json
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from neighbour_support import kubectl
from serving_pods import ServingPods

NODE = "node0"
PORT = 30000
STREAM_SECONDS = 20
"""How long an answer in pieces takes."""
PIECES = 40
_NETWORK = "10.88.1"
"""Of their addresses: an EndpointSlice has none of loopback."""


class RoutedPods(ServingPods):
    """As those that serve, on a node, at addresses of their own, and with requests.

    Attributes:
        answered: how many requests, by pod and version.
    """

    def __init__(self, namespace, versions):
        super().__init__(namespace, versions)
        self.answered = Counter()
        self._names, self._lock, pods = {}, threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            # A router keeps its connections.
            protocol_version = "HTTP/1.1"

            def _arm(self):
                address = self.connection.getsockname()[0]
                return pods._names[address], pods.engine(address).live

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                pod, version = self._arm()
                with pods._lock:
                    pods.answered[pod, version] += 1
                text = json.dumps({"pod": pod, "version": version}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                pod, _ = self._arm()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for at in range(PIECES):
                    text = f"data: {at} {pod}\n\n".encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                    time.sleep(STREAM_SECONDS / PIECES)
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self._requests = ThreadingHTTPServer(("", PORT), Handler)
        self._requests.daemon_threads = True
        self._serving = threading.Thread(target=self._requests.serve_forever)

    def __enter__(self):
        self._serving.start()
        return super().__enter__()

    def __exit__(self, *_):
        super().__exit__(*_)
        self._requests.shutdown()
        self._requests.server_close()
        self._serving.join()

    def reached(self, pod):
        """An address of its own in this network, and a node: a pod without one is no endpoint."""
        name, address = pod["metadata"]["name"], f"{_NETWORK}.{len(self._names) + 1}"
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
        self._names[address] = name
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"kind": "Node", "name": NODE},
        }
        path = f"/api/v1/namespaces/{self._namespace}/pods/{name}/binding"
        kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))
        return address
