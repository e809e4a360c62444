"""Admission webhooks for a real API server: an HTTPS server in this process, in the place of a policy engine's."""

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from apiserver_support import kubectl
from ports import free_port

Change = Callable[[dict[str, Any]], dict[str, Any]]


def certificate(folder):
    """A key and its own certificate for 127.0.0.1."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=webhook")
    extra = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert))
    subprocess.run([*command, *extra], check=True, capture_output=True)
    return key, cert


def patch(before, after, at=""):
    """The JSON patch between two objects; a list is one value."""
    if isinstance(before, dict) and isinstance(after, dict):
        steps = {name: f"{at}/{name.replace('~', '~0').replace('/', '~1')}" for name in {*before, *after}}
        gone = [{"op": "remove", "path": steps[name]} for name in before if name not in after]
        new = [{"op": "add", "path": steps[name], "value": after[name]} for name in after if name not in before]
        return (
            gone
            + new
            + [op for name in after if name in before for op in patch(before[name], after[name], steps[name])]
        )
    return [] if before == after else [{"op": "replace", "path": at, "value": after}]


class Mutating:
    """A mutating webhook for what is made and changed in one namespace."""

    def __init__(self, server: ThreadingHTTPServer, name: str) -> None:
        self._server, self._name = server, name

    @classmethod
    def start(cls, folder, namespace: str, change: Change, rules) -> Self:
        """Serve it, and have the API server call it.

        Args:
            folder: for its certificate.
            namespace: whose objects it changes.
            change: gives the object as it shall be.
            rules: of a MutatingWebhookConfiguration.
        """
        key, cert = certificate(folder)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
                before = request["object"]
                steps = patch(before, change(json.loads(json.dumps(before))))
                answer = {"uid": request["uid"], "allowed": True}
                if steps:
                    answer |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(steps).encode()).decode()}
                body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        port = free_port()
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return cls(server, configure("Mutating", namespace, f"https://127.0.0.1:{port}/", cert.read_bytes(), rules))

    def stop(self):
        remove("Mutating", self._name)
        self._server.shutdown()
        self._server.server_close()


def configure(kind: str, namespace: str, url: str, authority: bytes, rules, policy: str = "Fail", seconds: int = 5):
    """Have the API server ask a webhook; returns its name."""
    name = f"{kind.lower()}.{namespace}.example.com"
    webhook = {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": policy,
        "timeoutSeconds": seconds,
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": rules,
    }
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }
    done = kubectl("apply", "-f", "-", stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr
    return name


def remove(kind: str, name: str):
    kubectl("delete", f"{kind.lower()}webhookconfiguration", name, "--ignore-not-found")


def rule(*resources: str, groups=("", "apps", "batch", "policy"), operations=("CREATE", "UPDATE")):
    return [
        {"apiGroups": list(groups), "apiVersions": ["*"], "operations": list(operations), "resources": list(resources)}
    ]
