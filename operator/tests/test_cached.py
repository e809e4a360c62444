"""Objects are read once for each of their versions, and never taken for what they no longer are."""

import zlib

import pytest
from aurora_operator.clients.cached import RESOURCE, CachedCluster
from aurora_operator.clients.informer import KINDS
from aurora_operator.clients.versions import ObjectKey, Version, Versions
from aurora_operator.errors import ClusterError
from cached_support import LABELS, MAP, POD, SECRET, key, stand_in


@pytest.fixture
def server(monkeypatch):
    return stand_in(monkeypatch.setattr)


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
    return CachedCluster(None, versions, lambda: now[0])


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
