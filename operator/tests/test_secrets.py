"""Values of Secrets: used where they can be, and otherwise in no condition, log, metric or exception."""

import base64
import http.server
import json
import logging
import threading
import traceback
from datetime import timedelta
from functools import partial

import pytest
from aurora_operator.api.status import Stable, Status
from aurora_operator.clients.prometheus import Credentials
from aurora_operator.clients.secrets import ALLOWED_HOSTS, check_consent, value
from aurora_operator.errors import SecretValueError
from aurora_operator.reconcile.evidence import measure
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.polling import Polling
from aurora_operator.render.identity import Resource
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from operator_support import NOW, a_snapshot, a_spec
from prometheus_client import REGISTRY, generate_latest

STATUS = Status(stable=Stable(version=4, steps=3, since=NOW - timedelta(hours=1)), decided=4)
MARK = "Qz7"
"""In every secret value tried here, and nowhere else."""
PEM = f"-----BEGIN PRIVATE KEY-----\nMIIE{MARK}\n-----END PRIVATE KEY-----\n"


class Stored:
    """A cluster with one Secret, all keys of which have the same value, and which may be used for one host."""

    def __init__(self, content, host="127.0.0.1"):
        self.metadata = {"annotations": {ALLOWED_HOSTS: host}}
        encoded = base64.b64encode(content).decode()
        self.data = dict.fromkeys(("token", "username", "password", "tls.crt", "tls.key", "ca.crt"), encoded)

    def get(self, *_):
        return {"metadata": self.metadata, "data": self.data}


ASKED_WITH = []


class Echo(http.server.BaseHTTPRequestHandler):
    """Refuses, and sends back whatever it was sent."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        sent = self.headers.get("Authorization", "")
        ASKED_WITH.append(sent)
        decoded = base64.b64decode(sent.split()[-1]).decode() if sent.startswith("Basic") else ""
        body = json.dumps({"status": "error", "error": f"who is {sent}, {decoded}?"}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def echo():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


AUTHENTICATIONS = {
    "token": ("http", {"bearerTokenSecret": {"name": "prom", "key": "token"}}),
    "basic": ("http", {"basicAuthSecret": "prom"}),
    "authority": ("https", {"caSecret": {"name": "prom", "key": "ca.crt"}}),
    "certificate": ("https", {"clientCertificateSecret": "prom"}),
}


def around(sides):
    return st.builds(lambda left, right: left + MARK.encode() + right, sides, sides)


contents = st.one_of(
    around(st.binary(max_size=30)),
    around(st.text(max_size=20).map(str.encode)),
    around(st.from_regex(rb"[!-~]{0,9}[\r\n \x00]?")),
    st.sampled_from([PEM.encode(), f"pässwört-{MARK}".encode(), MARK.encode("utf-16")]),
)


@pytest.mark.parametrize("kind", AUTHENTICATIONS)
@given(content=contents)
@example(content=f"s3cr3t-{MARK}\n".encode())
@example(content=f"-----BEGIN CERTIFICATE-----\n{MARK}==\n-----END CERTIFICATE-----".encode())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_comes_back(echo, caplog, kind, content):
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    scheme, given_secrets = AUTHENTICATIONS[kind]
    spec = a_spec(promotion={"prometheus": {"url": f"{scheme}://{echo}", **given_secrets}})
    polling = Polling(partial(measure, Stored(content)), patience=10)
    found = polling.found(Resource("chat", "ns", "u-1", spec), STATUS, NOW)
    polling.close()
    problem = found.evidence.problem
    assert problem
    conditions = json.dumps(plan(a_snapshot(spec, STATUS, found=found)).status)
    for shown in (problem, conditions, caplog.text, generate_latest(REGISTRY).decode()):
        assert MARK not in shown


@given(content=contents, form=st.sampled_from(["header", "basic", "pem"]))
def test_a_value_is_used_as_it_is_or_refused_without_a_character_of_it(content, form):
    secret = {"data": {"key": base64.b64encode(content).decode()}}
    try:
        found = value(secret, "prom", "key", form)
    except SecretValueError as error:
        assert str(error).startswith("secret prom, key key: the value ")
        assert MARK not in "".join(traceback.format_exception(error))
    else:
        assert found == content.decode().strip()


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (None, "secret prom does not exist"),
        ({}, "has no key token"),
        ({"data": None}, "has no key token"),
        ({"data": {"token": ""}}, "is empty"),
        ({"data": {"token": base64.b64encode(b" \n").decode()}}, "is empty"),
        ({"data": {"token": "no base64"}}, "is not valid"),
        ({"data": {"token": base64.b64encode(b"a\nb").decode()}}, "line breaks"),
        ({"data": {"token": base64.b64encode(b"a" * 20000).decode()}}, "longer than"),
    ],
)
def test_what_is_wrong_names_secret_and_key(secret, message):
    with pytest.raises(SecretValueError, match=message):
        value(secret, "prom", "token", "header")


def test_a_line_break_at_the_end_is_no_part_of_the_value():
    secret = {"data": {"token": base64.b64encode(b"s3cr3t\n").decode()}}
    assert value(secret, "prom", "token", "header") == "s3cr3t"


def test_credentials_do_not_show_themselves():
    assert MARK not in repr(Credentials(token=MARK, basic=(MARK, MARK), authority=MARK, certificate=(MARK, MARK)))


URL = "https://Prometheus.monitoring.svc:9090/x"


@pytest.mark.parametrize(
    "hosts",
    [
        "prometheus.monitoring.svc", "prometheus.monitoring.svc:9090", "https://prometheus.monitoring.svc",
        "a, Prometheus.Monitoring.svc:9090,b", "a\nprometheus.monitoring.svc",
    ],
)  # fmt: skip
def test_a_secret_is_used_for_a_server_that_it_names(hosts):
    check_consent({"metadata": {"annotations": {ALLOWED_HOSTS: hosts}}}, "prom", URL)
    check_consent({}, "prom", URL, trusted=frozenset(hosts.lower().replace("\n", " ").replace(",", " ").split()))


@pytest.mark.parametrize(
    "hosts",
    [
        "", ",", "*", "monitoring.svc", "prometheus.monitoring.svc:80", "prometheus.monitoring.svc.evil",
        "http://prometheus.monitoring.svc", "xprometheus.monitoring.svc", "https://", ":9090",
    ],
)  # fmt: skip
def test_a_secret_is_used_for_no_other_server(hosts):
    with pytest.raises(
        SecretValueError, match=r"does not allow its use for prometheus.monitoring.svc: whoever owns it"
    ):
        check_consent({"metadata": {"annotations": {ALLOWED_HOSTS: hosts}}}, "prom", URL)


@pytest.mark.parametrize("hosts", ["[fd00::7]", "[fd00::7]:9090", "http://[fd00::7]:9090"])
def test_a_server_can_be_named_by_an_address_of_ipv6(hosts):
    secret = {"metadata": {"annotations": {ALLOWED_HOSTS: hosts}}}
    check_consent(secret, "prom", "http://[FD00::7]:9090/x")
    with pytest.raises(SecretValueError, match=r"for \[fd00::8\]"):
        check_consent(secret, "prom", "http://[fd00::8]:9090")


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}, {"metadata": {"annotations": None}}])
def test_a_secret_that_says_nothing_is_used_for_nothing(metadata):
    with pytest.raises(SecretValueError, match=r"aurora-operator.io/allowed-hosts=127.0.0.1"):
        check_consent(metadata, "prom", "http://127.0.0.1:1")


def test_a_value_that_changes_is_used_with_the_next_question(echo):
    spec = a_spec(promotion={"prometheus": {"url": f"http://{echo}", **AUTHENTICATIONS["token"][1]}})
    stored, resource, ledgers = Stored(b"first"), Resource("chat", "ns", "u-1", spec), {}
    for content in (b"first", b"second"):
        stored.data["token"] = base64.b64encode(content).decode()
        ASKED_WITH.clear()
        measure(stored, resource, STATUS, NOW, ledgers, ())
        assert set(ASKED_WITH) == {f"Bearer {content.decode()}"}


@pytest.mark.parametrize("kind", AUTHENTICATIONS)
def test_a_secret_is_not_sent_where_it_does_not_say_so(echo, kind):
    scheme, given_secrets = AUTHENTICATIONS[kind]
    spec = a_spec(promotion={"prometheus": {"url": f"{scheme}://{echo}", **given_secrets}})
    found = measure(Stored(PEM.encode(), "other"), Resource("chat", "ns", "u-1", spec), STATUS, NOW, {}, ())
    assert "secret prom does not allow its use for 127.0.0.1" in found.evidence.problem
    trusted = measure(
        Stored(b"\n", "other"), Resource("chat", "ns", "u-1", spec), STATUS, NOW, {}, (), trusted=("127.0.0.1",)
    )
    assert "allow" not in trusted.evidence.problem
