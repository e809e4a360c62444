"""A server that is no Prometheus, or wants something else first, is named as what it is."""

import http.server
import json
import threading
from contextlib import closing, contextmanager

import pytest
from aurora_operator.api.promotion import PrometheusSpec
from aurora_operator.clients.prometheus import Credentials, Prometheus
from aurora_operator.errors import PrometheusError
from pydantic import ValidationError

TOKEN = "t"  # noqa: S105
HTML, NO_ORG = b"<!doctype html><title>Sign in</title>", b"no org id"


@contextmanager
def serving(status, body, seen=None):
    """Answers all requests alike; ``seen`` is given their headers."""

    class Server(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if seen is not None:
                seen.update(self.headers.items())
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "credentials", "parts"),
    [
        (401, NO_ORG, Credentials(), ("401 Unauthorized", "none were sent", "promotion.prometheus.tenant")),
        (401, b'{"status": "error", "error": "no org id"}', Credentials(), ("401", "tenant", "it says: no org id")),
        (401, b"", Credentials(token=TOKEN, tenant="a"), ("those of promotion.prometheus",)),
        (403, HTML, Credentials(token=TOKEN), ("403 Forbidden", "forbids to query", "tenant")),
        (200, HTML, Credentials(), ("200 OK", "a login page or a user interface", "a web page and not JSON")),
        (302, b"", Credentials(), ("302 Found", "name the URL behind it")),
        (404, b"404 page not found", Credentials(), ("404 Not Found", "/prometheus")),
        (503, HTML, Credentials(), ("503 Service Unavailable", "check that it is up")),
        (200, b'{"data": 1}', Credentials(), ("not as a Prometheus answers",)),
        (400, b'{"status": "error", "error": "parse error"}', Credentials(), ("refused 'up': parse error",)),
        (599, b"odd", Credentials(), ("answers 599; its answer is not JSON",)),
    ],
)
def test_it_says_what_the_answer_was_and_what_to_do(status, body, credentials, parts):
    with serving(status, body) as url, closing(Prometheus(url, credentials)) as prometheus:
        with pytest.raises(PrometheusError) as caught:
            prometheus.number("up", 0.0)
        for part in parts:
            assert part in str(caught.value)
        assert ("tenant" in str(caught.value)) == any("tenant" in part for part in parts)


def test_the_tenant_is_sent_with_each_query():
    seen = {}
    answer = b'{"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}}'
    with serving(200, answer, seen) as url, closing(Prometheus(url, Credentials(tenant="team-a|team-b"))) as prometheus:
        assert prometheus.number("up", 0.0) == 1
    assert seen["X-Scope-OrgID"] == "team-a|team-b"
    assert "Authorization" not in seen


@pytest.mark.parametrize(
    ("url", "valid"),
    [
        ("http://[fd00::7]:9090/prometheus", True),
        ("https://[::1]", True),
        ("http://fd00::7:9090", False),
        ("http://[prometheus]:9090", False),
    ],
)
def test_a_server_is_named_by_name_or_address_of_either_family(url, valid):
    try:
        PrometheusSpec(url=url)
    except ValidationError:
        assert not valid
    else:
        assert valid


@pytest.mark.parametrize(
    ("tenant", "valid"), [("team-a", True), ("a|b", True), ("", False), ("a b", False), ("a\nb", False)]
)
def test_a_tenant_is_a_header_s_value_and_no_more(tenant, valid):
    try:
        PrometheusSpec(url="http://mimir/prometheus", tenant=tenant)
    except ValidationError:
        assert not valid
    else:
        assert valid


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e999"])
def test_what_is_no_finite_number_breaks_no_guard(value):
    answer = f'{{"status": "success", "data": {{"resultType": "scalar", "result": [0, "{value}"]}}}}'.encode()
    with serving(200, answer) as url, closing(Prometheus(url)) as prometheus:
        assert prometheus.number("up / 0", 0.0) is None


@pytest.mark.parametrize("value", ['"many"', "null", "[]", "{}", "1"])
def test_what_is_no_number_at_all_is_reported(value):
    answer = f'{{"status": "success", "data": {{"resultType": "scalar", "result": [0, {value}]}}}}'.encode()
    with (
        serving(200, answer) as url,
        closing(Prometheus(url)) as prometheus,
        pytest.raises(PrometheusError, match="number"),
    ):
        prometheus.number("up", 0.0)


LABELS = {"__name__": "aurora_accept_tokens_total", "pod": "a"}


@pytest.mark.parametrize(
    "one",
    [
        5,
        None,
        {"values": [[1, "2"]]},
        {"metric": None},
        {"metric": [1]},
        {"metric": LABELS, "values": "x"},
        {"metric": LABELS, "values": [[1]]},
        {"metric": LABELS, "values": [[1, "x"]]},
        {"metric": LABELS, "values": [[1, [1]]]},
        {"metric": LABELS, "values": [[{}, "1"]]},
        {"metric": LABELS, "values": [[10**400, "1"]]},
    ],
)
def test_series_that_are_none_are_reported_as_none(one):
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [one]}}).encode()
    with (
        serving(200, body) as url,
        closing(Prometheus(url)) as prometheus,
        pytest.raises(PrometheusError, match="not as a Prometheus answers"),
    ):
        prometheus.raw("x", 0.0, 60.0)


def answering(monkeypatch, *samples):
    """A Prometheus with one series."""
    prometheus = Prometheus("http://prometheus")
    series = {"metric": LABELS, "values": [[time, "1"] for time in samples]}
    monkeypatch.setattr(prometheus, "query", lambda _query, _time: ("matrix", [series]))
    return prometheus


@pytest.mark.parametrize("time", [38.0, 102.0, 4e9, 1e300, -1.0, float("inf"), float("nan")])
def test_samples_of_a_time_that_was_not_asked_for_are_refused(monkeypatch, time):
    """One of the far future would be as many time slices as lie between, in the operator's memory."""
    with pytest.raises(PrometheusError, match="a time that was not asked for"):
        answering(monkeypatch, 99.9, time).raw("x", 40.5, 100.0)


def test_samples_at_the_ends_of_what_was_asked_for_count(monkeypatch):
    assert len(answering(monkeypatch, 40.4, 100.0004).raw("x", 40.5, 100.0)[0].samples) == 2
