"""Credentials: repaired where they are missing, followed by pods where they change, never shown."""

import base64
import copy

import pytest
from aurora_operator.clients.secrets import ALLOWED_HOSTS
from aurora_operator.reconcile import named_secrets
from aurora_operator.reconcile.plan import plan
from aurora_operator.render.credentials import ANNOTATION, NAMES, stamp
from aurora_operator.render.identity import Resource
from operator_support import a_snapshot, a_spec, reported, settled

API_KEY = {"serving": {"apiKeySecret": {"name": "users", "key": "key"}}}


def secret(children, **values):
    """The children, the Secret as the API server stores it with these values."""
    out = copy.deepcopy(children)
    for body in out:
        if body["kind"] == "Secret":
            del body["stringData"]
            body["data"] = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return out


GOOD = {"admin": "admin-1", "agent": "agent-1", "samples": "samples-1"}


def applied(children, **more):
    """What is applied to these children, by kind and name."""
    snapshot, _ = settled(more.pop("spec", None))
    todo = plan(a_snapshot(snapshot.spec, pods=snapshot.pods, children=children, **more))
    return {(b["kind"], b["metadata"]["name"]): b for b in todo.apply}


def templates(**more):
    snapshot, children = settled(more.pop("spec", None))
    todo = plan(a_snapshot(snapshot.spec, pods=snapshot.pods, children=secret(children, **GOOD), **more))
    return {b["metadata"]["name"]: b["spec"]["template"]["metadata"]["annotations"].get(ANNOTATION) for b in todo.apply}


@pytest.mark.parametrize("broken", [{}, {"agent": ""}, {"agent": " \n"}, {"agent": "a b"}, {"admin": "", "agent": ""}])
def test_a_secret_with_a_missing_or_empty_key_is_repaired_and_the_others_stay(broken):
    values = GOOD | broken if broken else {"admin": "admin-1"}
    _, children = settled()
    made = applied(secret(children, **values))["Secret", "chat-keys"]["stringData"]
    assert set(made) == set(NAMES)
    assert all(value.strip() for value in made.values())
    assert {name: made[name] for name in NAMES if values.get(name, "").strip() and " " not in values[name]}.items() <= {
        **GOOD
    }.items()


def test_a_complete_secret_is_left_alone():
    _, children = settled()
    assert ("Secret", "chat-keys") not in applied(secret(children, **GOOD))


@pytest.mark.parametrize("name", NAMES)
def test_another_credential_means_other_engine_pods(name):
    values = [GOOD[n] for n in NAMES]
    changed = GOOD | {name: "another"}
    assert stamp(GOOD, *values, "") != stamp(changed, *(changed[n] for n in NAMES), "")


def test_another_api_key_means_other_engine_pods_and_the_same_trainer():
    spec = a_spec(**API_KEY)
    before, after = templates(spec=spec, api_key="one"), templates(spec=spec, api_key="two")
    assert before["chat-engine"] != after["chat-engine"]
    assert before.get("chat-trainer") == after.get("chat-trainer")


def test_a_stamp_does_not_reveal_a_short_key():
    assert stamp(GOOD, "hunter2") != stamp(GOOD | {"admin": "another"}, "hunter2")
    assert "hunter2" not in stamp(GOOD, "hunter2")


def test_an_api_key_that_cannot_work_is_reported_and_restarts_no_pod():
    spec = a_spec(**API_KEY)
    snapshot, children = settled(spec)
    children = secret(children, **GOOD)
    problem = "key key of Secret ns/users (serving.apiKeySecret) does not exist: create it"
    todo = plan(a_snapshot(spec, pods=snapshot.pods, children=children, credential_problem=problem))
    live = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    engine = [b for b in todo.apply if b["metadata"]["name"] == "chat-engine"]
    assert all(b["spec"]["template"] == live["spec"]["template"] for b in engine)
    found = reported("Degraded", spec=spec, pods=snapshot.pods, children=children, credential_problem=problem)
    assert found == ("CredentialRefused", problem)


def test_no_credential_shows_where_a_snapshot_is_printed():
    assert "user-secret" not in repr(a_snapshot(api_key="user-secret"))


class Stored:
    """A cluster with one Secret."""

    def __init__(self, hosts):
        data = {"key": base64.b64encode(b"user-secret").decode()}
        self._secret = {"metadata": {"annotations": {ALLOWED_HOSTS: hosts}}, "data": data}

    def get(self, *_):
        return self._secret


@pytest.mark.parametrize(
    ("more", "host", "field", "kept_back"),
    [
        (API_KEY, "chat.ns.svc", "serving.apiKeySecret", "Deployment"),
        ({"target": {"model": "a/b", "tokenSecret": {"name": "hf", "key": "key"}}}, "huggingface.co",
         "target.tokenSecret", "Job"),
    ],
)  # fmt: skip
def test_no_pod_reads_a_secret_that_does_not_allow_it(more, host, field, kept_back):
    spec = a_spec(**more)
    mine = Resource("chat", "ns", "u-1", spec)
    assert not named_secrets.read(Stored(host), mine, prepared=False).unusable
    refused = named_secrets.read(Stored("elsewhere"), mine, prepared=False)
    assert refused.unusable == {field}
    assert f"{ALLOWED_HOSTS}={host}" in refused.problem
    assert not refused.api_key
    _, children = settled(spec)
    without = [c for c in children if c["kind"] != kept_back or c["metadata"]["name"] == "chat-trainer"]
    if kept_back == "Job":
        without = []
    todo = plan(a_snapshot(spec, children=without, credential_problem=refused.problem, unusable=refused.unusable))
    assert kept_back not in {body["kind"] for body in todo.apply}
    assert "ConfigMap" in {body["kind"] for body in todo.apply} or without
    assert reported("Degraded", spec=spec, credential_problem=refused.problem, unusable=refused.unusable) == (
        "CredentialRefused",
        refused.problem,
    )


ELSEWHERE = {"name": "HF_ENDPOINT", "value": "https://elsewhere.example"}


@pytest.mark.parametrize(
    ("training", "chosen"),
    [
        ({}, False),
        ({"podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]}}}, False),
        ({"podTemplate": {"spec": {"containers": [{"name": "trainer", "resources": {"limits": {"cpu": 2}}}]}}}, False),
        ({"podTemplate": {"spec": {"containers": [{"name": "side", "image": "x"}]}}}, False),
        ({"image": "elsewhere/trainer:1"}, True),
        ({"podTemplate": {"spec": {"containers": [{"name": "trainer", "env": [ELSEWHERE]}]}}}, True),
        ({"podTemplate": {"spec": {"initContainers": [{"name": "x", "image": "x", "env": [ELSEWHERE]}]}}}, True),
        ({"podTemplate": {"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["huggingface.co"]}]}}}, True),
        ({"podTemplate": {"spec": {"dnsConfig": {"nameservers": ["10.0.0.1"]}}}}, True),
        ({"podTemplate": {"spec": {"shareProcessNamespace": True}}}, True),
    ],
)
def test_a_token_for_the_hub_is_not_for_whatever_an_author_runs_or_names_instead(training, chosen):
    spec = a_spec(target={"model": "a/b", "tokenSecret": {"name": "hf", "key": "key"}}, training=training)
    mine = Resource("chat", "ns", "u-1", spec)
    refused = named_secrets.read(Stored("huggingface.co"), mine, prepared=False)
    assert refused.unusable == ({"target.tokenSecret"} if chosen else set())
    if chosen:
        assert f"{ALLOWED_HOSTS}=chat.ns.svc" in refused.problem
        assert not named_secrets.read(Stored("huggingface.co chat.ns.svc"), mine, prepared=False).unusable


def test_a_fetched_target_needs_no_token_any_more():
    spec = a_spec(target={"model": "a/b", "tokenSecret": {"name": "hf", "key": "key"}})
    assert not named_secrets.read(Stored(""), Resource("chat", "ns", "u-1", spec), prepared=True).unusable
