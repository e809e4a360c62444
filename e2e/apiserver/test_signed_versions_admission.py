"""Signing as a user configures it, with a real API server: refused until the Secret allows it, then in every pod."""

import json

import apiserver_support
import pytest
from apiserver_support import GOOD, apply, changed, kubectl
from host import wait
from operated import Operator

SPACE = ("-n", "signed")


@pytest.mark.parametrize(
    ("signing", "good"), [({"secretName": "s"}, True), ({}, False), ({"secretName": "s", "required": "no"}, False)]
)
def test_the_schema_names_a_secret(signing, good):
    assert (apply(changed("spec.weights", {"signing": signing}), "--dry-run=server").returncode == 0) == good


def read(kind, name):
    return apiserver_support.read(SPACE[1], kind, name)


def degraded():
    conditions = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one["message"] for one in conditions if one["reason"] == "CredentialRefused"), "")


def test_pods_wait_for_a_secret_that_allows_it(tmp_path):
    kubectl("create", "namespace", SPACE[1])
    kubectl("create", "secret", "generic", "signing", *SPACE, f"--from-literal=key={'k' * 40}")
    running = Operator.start(SPACE[1], tmp_path / "log")
    try:
        body = changed("spec.weights", {"signing": {"secretName": "signing"}}) | {"metadata": {"name": "chat"}}
        assert body["spec"].keys() > GOOD["spec"].keys()
        assert kubectl("apply", *SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
        wait("it is refused", lambda: "allowed-hosts=chat.signed.svc" in degraded(), 60)
        assert read("job", "chat-init") is None
        kubectl("annotate", "secret", "signing", *SPACE, "aurora-operator.io/allowed-hosts=chat.signed.svc")
        wait("a job", lambda: read("job", "chat-init"), 60)
        env = read("job", "chat-init")["spec"]["template"]["spec"]["containers"][0]["env"]
        (key,) = (one for one in env if one["name"] == "AURORA_SIGNING_KEY")
        assert key["valueFrom"]["secretKeyRef"] == {"name": "signing", "key": "key"}
        assert "k" * 40 not in json.dumps([read("specdep", "chat"), read("job", "chat-init")])
        wait("all is well", lambda: not degraded(), 60)
    finally:
        running.stop()
        print((tmp_path / "log").read_text())
        kubectl("delete", "namespace", SPACE[1], "--wait=false")
