"""Proxies lead to servers outside of the cluster, and never to what is inside."""

import http.server
import threading
from contextlib import closing, contextmanager

import pytest
from aurora_operator.clients.connection import configured
from aurora_operator.clients.prometheus import Prometheus
from aurora_operator.clients.proxies import proxy_for
from aurora_operator.errors import PrometheusError
from kubernetes.config import incluster_config

PROXY = "http://proxy.example.org:3128"
BOTH = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("https://prometheus.example.org/x", BOTH, PROXY),
        ("https://prometheus.example.org", {"http_proxy": PROXY}, ""),
        ("https://prometheus.example.org", {"all_proxy": "proxy.example.org:3128"}, PROXY),
        ("https://prometheus.example.org", {"HTTPS_PROXY": "http://other", "https_proxy": PROXY}, PROXY),
        ("http://prometheus.monitoring.svc:9090", BOTH, ""),
        ("http://prometheus.monitoring.svc.corp.internal:9090", BOTH, ""),
        ("http://prometheus:9090", BOTH, ""),
        ("http://svc.example.org", BOTH, PROXY),
        ("http://127.0.0.1:9090", BOTH, ""),
        ("http://[::1]:9090", BOTH, ""),
        ("http://10.0.0.7:9090", BOTH, PROXY),
        ("http://10.0.0.7:9090", {**BOTH, "NO_PROXY": "192.168.0.0/16, 10.0.0.0/8"}, ""),
        ("http://[fd00::7]:9090", {**BOTH, "NO_PROXY": "fd00::/8"}, ""),
        ("http://[fd00::7]:9090", {**BOTH, "NO_PROXY": "[fd00::7]:9090"}, ""),
        ("http://[fd00::7]:9090", {**BOTH, "NO_PROXY": "[fd00::7]:80"}, PROXY),
        ("https://a.example.org", {**BOTH, "NO_PROXY": ".example.org"}, ""),
        ("https://example.org", {**BOTH, "NO_PROXY": "example.org"}, ""),
        ("https://badexample.org", {**BOTH, "NO_PROXY": "example.org"}, PROXY),
        ("https://a.example.org", {**BOTH, "NO_PROXY": "*.example.org"}, ""),
        ("https://a.example.org", {**BOTH, "NO_PROXY": "a.example.org:8443"}, PROXY),
        ("https://a.example.org", {**BOTH, "NO_PROXY": "a.example.org:443"}, ""),
        ("https://a.example.org", {**BOTH, "NO_PROXY": "*"}, ""),
        ("https://a.example.org", {**BOTH, "NO_PROXY": ""}, PROXY),
    ],
)
def test_a_server_has_the_proxy_that_the_environment_names(url, environment, expected):
    assert proxy_for(url, environment) == expected


@contextmanager
def proxying(status, seen):
    """Answers what it is asked for itself; ``seen`` is given the first lines and credentials of requests."""
    body = b'{"status": "success", "data": {"resultType": "scalar", "result": [0, "7"]}}'

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.requestline, self.headers.get("Proxy-Authorization", "")))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self):
            seen.append((self.requestline, ""))
            self.send_error(403, "go away")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_prometheus_is_queried_by_the_proxy():
    seen = []
    with proxying(200, seen) as port:
        server = Prometheus("http://prometheus.example.org", proxy=f"http://me:s%40y@127.0.0.1:{port}")
        with closing(server):
            assert server.number("up", 0.0) == 7
    assert seen == [("POST http://prometheus.example.org/api/v1/query HTTP/1.1", "Basic bWU6c0B5")]


def test_a_proxy_that_refuses_is_named_as_that():
    seen = []
    with proxying(200, seen) as port:
        server = Prometheus("https://prometheus.example.org", proxy=f"http://127.0.0.1:{port}")
        refused = pytest.raises(PrometheusError, match="by the operator's proxy: the proxy refuses to connect")
        with closing(server), refused:
            server.number("up", 0.0)
    assert seen == [("CONNECT prometheus.example.org:443 HTTP/1.1", "")]
    with pytest.raises(PrometheusError, match="its proxy is not one of http or https"):
        Prometheus("https://prometheus.example.org", proxy="socks5://127.0.0.1:1")


def test_the_api_server_is_never_reached_by_a_proxy(monkeypatch, tmp_path):
    """Given proxies in the environment of a pod, with a NO_PROXY that does not know the API server's address."""
    for name, text in (("TOKEN", "t"), ("CERT", "c")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(incluster_config, f"SERVICE_{name}_FILENAME", str(tmp_path / name))
    for name, value in {**BOTH, "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}.items():
        monkeypatch.setenv(name, value)
    made = configured()
    assert (made.host, made.proxy) == ("https://10.96.0.1:443", None)
