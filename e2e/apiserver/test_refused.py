"""A child that a real API server will never take is told in its words; one that it takes is there."""

import pytest
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.reconcile.execute import _apply


@pytest.fixture(scope="module")
def cluster():
    return Cluster()


def service(port, namespace="default"):
    metadata = {"name": "refused", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": port}]}}


def test_an_invalid_child_is_told_and_not_raised(cluster):
    words = _apply(cluster, service(0))
    assert "ports[0].port" in words
    assert cluster.get("v1", "Service", "default", "refused") is None


def test_a_valid_one_is_applied(cluster):
    assert _apply(cluster, service(80)) is None
    assert cluster.get("v1", "Service", "default", "refused")["spec"]["ports"][0]["port"] == 80
    cluster.delete("v1", "Service", "default", "refused")


def test_what_may_pass_is_raised_and_tried_again(cluster):
    with pytest.raises(ClusterError) as caught:
        _apply(cluster, service(80, "no-such-namespace"))
    assert caught.value.status == 404
