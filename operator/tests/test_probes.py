"""Probes are answered at the address by which the kubelet knows the operator's pod."""

import socket
import urllib.request

import pytest
from aurora_operator.main import _standing_by
from aurora_operator.settings import Settings

from aurora_core import listening


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("", "http://0.0.0.0:8080/healthz"),
        ("10.0.0.7", "http://0.0.0.0:8080/healthz"),
        ("fd00::7", "http://[::]:8080/healthz"),
    ],
)
def test_the_endpoint_is_of_the_pod_s_own_family(address, endpoint):
    assert Settings(engine_image="e", trainer_image="t", pod_address=address).liveness_endpoint == endpoint


def test_a_process_that_stands_by_answers_at_both_families():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    addresses = ["127.0.0.1", *(["[::1]"] if listening.has_ipv6() else [])]
    with _standing_by(port):
        for address in addresses:
            with urllib.request.urlopen(f"http://{address}:{port}/healthz") as answer:
                assert answer.read() == b"{}"
