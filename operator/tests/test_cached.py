"""Objects are read once for each of their versions, and never taken for what they no longer are."""

import itertools
import zlib

import pytest
from aurora_operator.clients.cached import RESOURCE, CachedCluster
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.informer import KINDS
from aurora_operator.clients.versions import ObjectKey, Version, Versions
from aurora_operator.errors import ClusterError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

LABELS = {"app.kubernetes.io/instance": "chat"}
POD, SECRET, MAP = ("v1", "Pod"), ("v1", "Secret"), ("v1", "ConfigMap")


class Server:
    """An API server in memory that counts requests."""

    def __init__(self):
        self.objects, self.requests, self._versions = {}, 0, itertools.count(1)

    def put(self, key, **more):
        metadata = {"name": key.name, "namespace": key.namespace, "labels": LABELS, "managedFields": ["x"] * 9}
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[key] = {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata, **more}
        return self.objects[key]

    def version(self, key):
        return Version(self.objects[key]["metadata"]["resourceVersion"], "chat")


@pytest.fixture
def server(monkeypatch):
    return stand_in(monkeypatch.setattr)


def stand_in(replace):
    server = Server()

    def get(_, *key):
        server.requests += 1
        return server.objects.get(ObjectKey(*key))

    def listed(_, api_version, kind, namespace, labels):
        server.requests += 1
        return [body for key, body in server.objects.items() if key[:3] == (api_version, kind, namespace)]

    def apply(_, body):
        server.requests += 1
        metadata = body["metadata"]
        key = ObjectKey(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])
        return server.put(
            key, **{name: value for name, value in body.items() if name not in {"apiVersion", "kind", "metadata"}}
        )

    def delete(_, *key):
        server.requests += 1
        server.objects.pop(ObjectKey(*key), None)

    def write_status(_, namespace, name, status, resource_version):
        server.requests += 1
        key = ObjectKey(*RESOURCE, namespace, name)
        if server.objects[key]["metadata"]["resourceVersion"] != resource_version:
            raise ClusterError("conflict", 409)
        return server.put(key, status=status)

    replace(Cluster, "__init__", lambda _: None)
    for name, function in (
        ("get", get),
        ("list", listed),
        ("apply", apply),
        ("delete", delete),
        ("write_status", write_status),
    ):
        replace(Cluster, name, function)
    return server


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def versions():
    found = Versions()
    for api_version, kind in KINDS:
        assert list(found.listed(api_version, kind, "", {})) == []
    return found


@pytest.fixture
def cluster(server, versions, now):
    return CachedCluster(versions, lambda: now[0])


def key(kind, name="chat-x"):
    return ObjectKey(*kind, "ns", name)


def test_an_object_is_read_once_while_its_watch_is_silent_and_again_when_its_version_moved(server, versions, cluster):
    at = key(MAP)
    server.put(at, data={"a": "1"})
    versions.note(at, server.version(at))
    for _ in range(5):
        assert cluster.get(*at)["data"] == {"a": "1"}
    assert server.requests == 1
    server.put(at, data={"a": "2"})
    versions.note(at, server.version(at))
    assert cluster.get(*at)["data"] == {"a": "2"}


def test_one_that_is_deleted_is_missed_at_once(server, versions, cluster):
    at = key(MAP)
    server.put(at)
    versions.note(at, server.version(at))
    assert cluster.get(*at)
    del server.objects[at]
    versions.gone(at)
    assert cluster.get(*at) is None


def test_what_was_applied_is_read_back_before_any_watch_reports_it(server, versions, cluster):
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "chat-x", "namespace": "ns"},
        "data": {"a": "1"},
    }
    cluster.apply(body)
    assert cluster.get(*key(MAP))["data"] == {"a": "1"}
    cluster.apply(body | {"data": {"a": "2"}})
    assert cluster.get(*key(MAP))["data"] == {"a": "2"}
    before = server.requests
    versions.note(key(MAP), server.version(key(MAP)))
    assert cluster.get(*key(MAP))["data"] == {"a": "2"}
    assert server.requests == before


def test_an_event_of_before_a_write_only_costs_a_read(server, versions, cluster):
    at = key(MAP)
    old = server.version(at) if server.put(at) else None
    versions.note(at, old)
    cluster.get(*at)
    cluster.apply(server.objects[at] | {"data": {"a": "2"}})
    versions.note(at, old)
    assert cluster.get(*at)["data"] == {"a": "2"}


def test_one_that_appeared_since_it_was_found_absent_is_not_written_over(server, cluster):
    at = key(("v1", "Service"), "chat")
    assert cluster.get(*at) is None
    server.put(at, spec={"of": "another"})
    with pytest.raises(ClusterError, match="appeared meanwhile") as caught:
        cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat", "namespace": "ns"}})
    assert caught.value.status == 409
    assert cluster.get(*at)["spec"] == {"of": "another"}


def test_what_no_watch_covers_is_read_again_the_rarer_the_more_resources_there_are(server, cluster, now):
    server.put(key(SECRET), data={"a": "1"})
    cluster.get(*key(SECRET))
    server.put(key(SECRET), data={"a": "2"})
    assert cluster.get(*key(SECRET))["data"] == {"a": "1"}
    now[0] = 7
    assert cluster.get(*key(SECRET))["data"] == {"a": "2"}
    cluster.resources = 100
    for second in range(1000):
        now[0] = 7 + second
        cluster.get(*key(SECRET))
    assert server.requests <= 8


def test_what_should_not_be_there_is_not_asked_for_again_while_its_watch_is_silent(server, versions, cluster, now):
    at, claim = key(MAP), key(("v1", "PersistentVolumeClaim"))
    for seconds in (0, 300, 600):
        now[0] = seconds
        assert cluster.get(*at) is None
    assert server.requests == 1
    server.put(at)
    versions.note(at, server.version(at))
    assert cluster.get(*at) is not None
    # A claim that the spec names may come without the label, which no watch shows.
    assert cluster.get(*claim) is None
    server.put(claim)
    now[0] += 300
    assert cluster.get(*claim) is not None


def test_a_fleet_at_rest_is_read_again_rarely_and_never_all_at_once(server, versions, cluster, now):
    objects = [key(MAP, f"chat-{i}") for i in range(60)]
    for at in objects:
        server.put(at)
        versions.note(at, server.version(at))
    made = []
    for minute in range(8 * 60):
        now[0], before = 60.0 * minute, server.requests
        for at in objects:
            cluster.get(*at)
        made.append(server.requests - before)
    assert made[0] == 60
    assert max(made[1:]) < 10
    assert 60 * 4 <= sum(made) <= 60 * 8


def test_while_a_watch_is_broken_each_reconcile_reads(server, versions, cluster):
    at = key(MAP)
    server.put(at)
    versions.note(at, server.version(at))
    cluster.get(*at)
    versions.lost("v1", "ConfigMap", "")
    server.put(at, data={"a": "2"})
    assert cluster.get(*at)["data"] == {"a": "2"}
    assert list(versions.listed("v1", "ConfigMap", "", {at: server.version(at)})) == []


def test_pods_are_listed_again_only_when_one_of_them_changed(server, versions, cluster):
    labels = LABELS | {"app.kubernetes.io/name": "aurora"}
    for name in ("a", "b"):
        server.put(key(POD, name))
        versions.note(key(POD, name), server.version(key(POD, name)))
    for _ in range(3):
        assert len(cluster.list(*POD, "ns", labels)) == 2
    assert server.requests == 1
    del server.objects[key(POD, "a")]
    versions.gone(key(POD, "a"))
    assert [one["metadata"]["name"] for one in cluster.list(*POD, "ns", labels)] == ["b"]
    server.put(key(POD, "c"))
    versions.note(key(POD, "c"), server.version(key(POD, "c")))
    assert len(cluster.list(*POD, "ns", labels)) == 2
    assert server.requests == 3


def test_a_status_that_was_written_is_read_back_and_a_conflict_reads_again(server, versions, cluster):
    at = ObjectKey(*RESOURCE, "ns", "chat")
    body = server.put(at, status={})
    versions.note(at, Version(body["metadata"]["resourceVersion"], "chat"))
    cluster.get(*at)
    cluster.write_status("ns", "chat", {"a": 1}, body["metadata"]["resourceVersion"])
    before = server.requests
    assert cluster.get(*at)["status"] == {"a": 1}
    assert server.requests == before
    server.put(at, status={"a": 2})
    with pytest.raises(ClusterError):
        cluster.write_status("ns", "chat", {"a": 3}, "0")
    assert cluster.get(*at)["status"] == {"a": 2}


def test_a_large_body_is_not_held_and_managers_are_dropped(server, versions, cluster):
    at = key(MAP)
    server.put(at, data={"a": "x" * (300 << 10)})
    versions.note(at, server.version(at))
    cluster.get(*at)
    assert not cluster._held
    server.put(at)
    assert "managedFields" not in cluster.get(*at)["metadata"]
    assert b"managedFields" not in zlib.decompress(cluster._held[at].text)


def test_of_what_the_operator_applied_it_is_kept_who_has_which_field(server, versions, cluster):
    at = key(MAP)
    ours = {"manager": "aurora-operator", "operation": "Apply", "time": "t", "fieldsV1": {"f:data": {}}}
    status = {"manager": "controller", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}
    server.put(at)["metadata"]["managedFields"] = [ours, status]
    versions.note(at, server.version(at))
    kept = [{"manager": "aurora-operator", "operation": "Apply", "fieldsV1": {"f:data": {}}}]
    assert [cluster.get(*at)["metadata"]["managedFields"] for _ in range(2)] == [kept, kept]


def test_of_a_route_it_is_kept_who_set_its_weights_last(server, cluster):
    at = ObjectKey("gateway.networking.k8s.io/v1", "HTTPRoute", "ns", "front")
    entry = {"manager": "gitops", "operation": "Update", "fieldsV1": {"f:spec": {"f:rules": {}}}}
    server.put(at)["metadata"]["managedFields"] = [entry]
    assert cluster.get(*at)["metadata"]["managedFields"] == [entry]


def test_a_resource_that_is_gone_leaves_nothing(server, versions, cluster, now):
    for at in (key(MAP), key(POD), ObjectKey(*RESOURCE, "ns", "chat")):
        server.put(at)
        versions.note(at, server.version(at))
        cluster.get(*at)
    cluster.list(*POD, "ns", LABELS)
    cluster.get(*key(SECRET, "prometheus"))
    cluster.forget("ns", "chat")
    assert [at.name for at in cluster._held] == ["prometheus"]
    assert not cluster._lists
    now[0] = 10_000
    cluster.get(*key(MAP, "other"))
    assert [at.name for at in cluster._held] == ["other"]


class EventuallyCurrent(RuleBasedStateMachine):
    """Whatever happens in whatever order: once the watch caught up, what is read is what is there."""

    names = st.sampled_from(["chat-a", "chat-b"])

    @initialize()
    def begin(self):
        self.patch = pytest.MonkeyPatch()
        self.server = stand_in(self.patch.setattr)
        self.versions = Versions()
        list(self.versions.listed(*MAP, "", {}))
        self.cluster = CachedCluster(self.versions, lambda: 0.0)
        self.events = []

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(name=names, value=st.integers(0, 3))
    def another_writes(self, name, value):
        self.server.put(key(MAP, name), data={"a": str(value)})
        self.events.append((key(MAP, name), self.server.version(key(MAP, name))))

    @rule(name=names)
    def another_deletes(self, name):
        if self.server.objects.pop(key(MAP, name), None):
            self.events.append((key(MAP, name), None))

    @rule(name=names, value=st.integers(0, 3))
    def the_operator_applies(self, name, value):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "ns"},
            "data": {"a": str(value)},
        }
        try:
            self.cluster.apply(body)
        except ClusterError:
            return
        self.events.append((key(MAP, name), self.server.version(key(MAP, name))))
        assert self.cluster.get(*key(MAP, name))["data"] == {"a": str(value)}

    @rule(name=names)
    def the_operator_reads(self, name):
        self.cluster.get(*key(MAP, name))

    @rule(count=st.integers(1, 3))
    def the_watch_moves_on(self, count):
        for at, version in self.events[:count]:
            if version is None:
                self.versions.gone(at)
            else:
                self.versions.note(at, version)
        del self.events[:count]

    @invariant()
    def what_is_read_is_what_is_there(self):
        if not getattr(self, "events", [1]):
            for name in ("chat-a", "chat-b"):
                there, read = self.server.objects.get(key(MAP, name)), self.cluster.get(*key(MAP, name))
                assert (there and there["data"]) == (read and read["data"])


EventuallyCurrent.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestEventuallyCurrent = EventuallyCurrent.TestCase
