"""A child that a real API server refuses is a problem with its message, and keeps no other child from its place."""

import pytest
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.connection import connect
from aurora_operator.reconcile.execute import _changed
from aurora_operator.reconcile.plan import Plan


@pytest.fixture(scope="module")
def cluster():
    return Cluster(connect())


def service(name, port, namespace="default"):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": port}]}}


def applied(cluster, *bodies):
    return _changed(cluster, "default/chat", Plan(apply=bodies), "default")


def test_an_invalid_child_is_a_problem_and_the_next_one_is_applied(cluster):
    problems = applied(cluster, service("refused", 0), service("taken", 80))
    assert [problem.reason for problem in problems] == ["ApplyRefused"]
    assert "ports[0].port" in problems[0].message
    assert cluster.get("v1", "Service", "default", "refused") is None
    assert cluster.get("v1", "Service", "default", "taken")["spec"]["ports"][0]["port"] == 80
    cluster.delete("v1", "Service", "default", "taken")


def test_a_child_in_a_namespace_that_is_gone_is_a_problem_too(cluster):
    problems = applied(cluster, service("taken", 80, "no-such-namespace"))
    assert len(problems) == 1
    assert "no-such-namespace" in problems[0].message
