"""Keys that sign versions: in every pod that reads or writes one, used only where their Secret allows it."""

import base64

import pytest
from aurora_operator.clients.secrets import ALLOWED_HOSTS
from aurora_operator.reconcile import named_secrets
from aurora_operator.reconcile.plan import plan
from aurora_operator.render.credentials import ANNOTATION
from aurora_operator.render.identity import Resource
from operator_support import a_snapshot, a_spec, reported, settled

SIGNED = a_spec(weights={"signing": {"secretName": "signing"}})
ONE, TWO = "a" * 32, "b" * 32


class Stored:
    """A cluster with one Secret."""

    def __init__(self, hosts="chat.ns.svc", **values):
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        self._secret = {"metadata": {"annotations": {ALLOWED_HOSTS: hosts}}, "data": data}

    def get(self, *_):
        return self._secret


def found(spec=SIGNED, **stored):
    return named_secrets.read(Stored(**stored), Resource("chat", "ns", "u-1", spec), prepared=True)


def variables(body):
    return [
        {one["name"] for one in container["env"] if one["name"].startswith("AURORA_SIGNING")}
        for container in body["spec"]["template"]["spec"]["containers"]
    ]


def workloads(children):
    return {c["metadata"]["name"]: c for c in children if c["kind"] in {"Deployment", "Job"}}


def test_every_process_that_reads_or_writes_versions_gets_the_signing_keys_and_none_without_signing():
    _, signed = settled(SIGNED)
    _, plain = settled()
    everything = {"AURORA_SIGNING_KEY", "AURORA_SIGNING_KEY_PREVIOUS", "AURORA_SIGNING_REQUIRED"}
    for name in ("chat-init", "chat-trainer", "chat-engine"):
        assert all(one == everything for one in variables(workloads(signed)[name]))
        assert not any(variables(workloads(plain)[name]))


@pytest.mark.parametrize(("stored", "keys"), [({"key": ONE}, (ONE,)), ({"key": ONE, "previous": TWO}, (ONE, TWO))])
def test_keys_that_can_be_used_are(stored, keys):
    credentials = found(**stored)
    assert (credentials.signing, credentials.problem, credentials.unusable) == (keys, "", frozenset())
    assert not any(key in repr(a_snapshot(SIGNED, signing=keys)) for key in keys)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({}, "key key of Secret ns/signing (weights.signing) does not exist"),
        ({"key": "short"}, "fewer than 32 characters"),
        ({"key": ONE, "previous": "short"}, "fewer than 32 characters"),
        ({"key": ONE, "previous": "a b"}, "white space"),
        ({"key": ONE, "hosts": "elsewhere"}, f"{ALLOWED_HOSTS}=chat.ns.svc"),
    ],
)
def test_keys_that_cannot_be_used_start_nothing_and_stop_nothing(stored, message):
    credentials = found(**stored)
    assert credentials.unusable == {"weights.signing"}
    assert message in credentials.problem
    assert not credentials.signing
    refused = {"credential_problem": credentials.problem, "unusable": credentials.unusable}
    assert not workloads(plan(a_snapshot(SIGNED, **refused)).apply)
    _, children = settled(SIGNED, signing=(ONE,))
    todo = plan(a_snapshot(SIGNED, children=children, **refused))
    assert not workloads(todo.apply)
    assert not todo.delete
    assert reported("Degraded", spec=SIGNED, **refused)[0] == "CredentialRefused"


def test_another_key_means_other_pods_and_an_upgrade_without_signing_the_same_ones():
    def stamps(spec, **more):
        _, children = settled(spec, **more)
        every = workloads(children)
        return [every[n]["spec"]["template"]["metadata"]["annotations"][ANNOTATION]
                for n in ("chat-engine", "chat-trainer")]  # fmt: skip

    one, two, accepted = (stamps(SIGNED, signing=keys) for keys in ((ONE,), (TWO,), (ONE, TWO)))
    assert len({*one, *two, *accepted}) == 6
    assert stamps(None) == stamps(None, signing=())
