"""What a real Prometheus wants to be shown, and what becomes of who shows something else."""

import subprocess
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from aurora_operator.clients.prometheus import Credentials, Prometheus
from aurora_operator.errors import PrometheusError

# "test", as the manual of Prometheus' web configuration hashes it.
PASSWORD_HASH = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"  # noqa: S105


def test_basic_authentication(exporter, serve):
    server = serve([exporter.port], web=f"basic_auth_users: {{aurora: '{PASSWORD_HASH}'}}\n")
    right = server.client(Credentials(basic=("aurora", "test")))
    assert right.number("vector(1)", time.time()) == 1
    wrong = server.client(Credentials(basic=("aurora", "guess")))
    with pytest.raises(PrometheusError):
        wrong.number("vector(1)", time.time())


def test_a_server_behind_a_proxy_that_wants_a_bearer_token(exporter, serve):
    server = serve([exporter.port])

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self):
            if self.headers["Authorization"] != "Bearer secret":
                self.send_error(401)
                return
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = {"Content-Type": self.headers["Content-Type"]}
            answer = httpx.post(server.url + self.path, content=body, headers=kind).content
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        for token, answer in (("secret", 1), ("guess", None)):
            with closing(Prometheus(url, Credentials(token=token))) as client:
                if answer is None:
                    with pytest.raises(PrometheusError):
                        client.number("vector(1)", time.time())
                else:
                    assert client.number("vector(1)", time.time()) == answer
        proxy.shutdown()


def test_a_server_that_wants_a_certificate(exporter, serve, tmp_path):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=tmp_path)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca")
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.crt", "-extfile", "names")  # fmt: skip
    web = "\n".join(
        ("tls_server_config:", f"  cert_file: {tmp_path}/server.crt", f"  key_file: {tmp_path}/server.key",
         "  client_auth_type: RequireAndVerifyClientCert", f"  client_ca_file: {tmp_path}/ca.crt")
    )  # fmt: skip
    server = serve([exporter.port], web=web, scheme="https")
    authority = (tmp_path / "ca.crt").read_text()
    pair = (tmp_path / "client.crt").read_text(), (tmp_path / "client.key").read_text()
    known = server.client(Credentials(authority=authority, certificate=pair))
    assert known.number("vector(1)", time.time()) == 1
    stranger = server.client(Credentials(authority=authority))
    with pytest.raises(PrometheusError, match="does not answer"):
        stranger.number("vector(1)", time.time())
    with pytest.raises(PrometheusError, match="caSecret contains no certificate"):
        server.client(Credentials(authority="no certificate"))
