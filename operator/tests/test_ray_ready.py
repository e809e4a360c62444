"""What the operator reports of a RayCluster, and of a cluster that lacks KubeRay."""

from datetime import timedelta

import pytest
from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.reconcile import ray as observed
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Problem
from aurora_operator.render import ray
from aurora_operator.render.identity import COMPONENT, Resource
from operator_support import NOW, a_snapshot, a_spec, reported, settled
from ray_support import AT, READY, a_resource, online


def a_head(*, ready=True, message=""):
    began = (NOW - timedelta(minutes=9)).isoformat()
    process = {"name": "driver", "restartCount": 0, "state": {"running": {"startedAt": began}}}
    if message:
        last = {"exitCode": 1, "message": message, "startedAt": began, "finishedAt": NOW.isoformat()}
        process |= {"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        process["lastState"] = {"terminated": last}
    status = {"conditions": [READY] if ready and not message else [], "containerStatuses": [process]}
    return {"metadata": {"name": "chat-ray-head-x", "labels": {COMPONENT: ray.HEAD}}, "status": status}


FAILING = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]


OLD = Problem("ApplyRefused", "cannot apply: .spec.headGroupSpec.x: field not declared in schema", AT)


@pytest.mark.parametrize(
    ("more", "cluster", "seen"),
    [
        ({"kuberay": ("KubeRayMissing", "install it")}, None, ("KubeRayMissing", "install it")),
        ({"problems": (OLD,)}, {}, ("KubeRayTooOld", "cannot apply: .spec.headGroupSpec.x: field not declared")),
        ({"problems": (Problem("ApplyRefused", "quota", AT),)}, {}, ("ApplyRefused", "quota")),
        ({}, None, ("ClusterNew", "RayCluster chat-ray is made once")),
        ({}, {"status": {}}, ("KubeRaySilent", "KubeRay has not acted on RayCluster chat-ray")),
        ({}, {}, ("HeadStarting", "the head is not running yet")),
        ({}, {"status": {"conditions": FAILING}}, ("HeadFailing", "exceeded quota")),
        ({"head_pods": (a_head(),)}, {}, ("HeadReady", "the head runs, and its driver")),
        (
            {"head_pods": (a_head(message="no such option"),)},
            {},
            ("HeadFailing", "chat-ray-head-x/driver ended with 1"),
        ),
    ],
)
def test_ray_is_ready_or_the_condition_says_why_not_and_so_does_available(more, cluster, seen):
    spec = online()
    _, children = settled(spec)
    if cluster is None:
        children = [child for child in children if child["kind"] != "RayCluster"]
    for child in children:
        if child["kind"] == "RayCluster":
            child["metadata"]["creationTimestamp"] = (NOW - timedelta(minutes=5)).isoformat()
            child["status"] = cluster.get("status", {"state": ""})
    reason, message = reported("RayReady", spec=spec, children=children, **more)
    assert (reason, message[: len(seen[1])]) == seen
    if reason != "HeadReady":
        assert reported("Available", spec=spec, children=children, **more)[0] == reason


def test_without_kuberay_nothing_is_applied_that_cannot_be_and_other_modes_have_no_such_condition():
    snapshot, children = settled(online())
    children = [child for child in children if child["kind"] != "RayCluster"]
    todo = plan(a_snapshot(online(), pods=snapshot.pods, children=children, kuberay=("KubeRayMissing", "m")))
    assert not [body for body in todo.apply if body["kind"] == "RayCluster"]
    assert "RayReady" not in {one["type"] for one in plan(a_snapshot()).status["conditions"]}


class Kinds(Cluster):
    """An API server with some kinds, that may refuse to show a RayCluster."""

    def __init__(self, *versions, refuses=0):
        self._versions, self._refuses = versions, refuses

    def serves(self, api_version, kind):
        return kind == "RayCluster" and api_version in self._versions

    def get(self, api_version, kind, namespace, name):
        if self._refuses:
            raise ClusterError("cannot get RayCluster ns/chat-ray", self._refuses)


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        (Kinds(), "KubeRayMissing"),
        (Kinds("ray.io/v1alpha1"), "KubeRayTooOld"),
        (Kinds("ray.io/v1", refuses=403), "KubeRayForbidden"),
        (Kinds("ray.io/v1"), None),
    ],
)
def test_what_the_cluster_offers_is_asked_for_and_only_in_mode_online(cluster, reason):
    found = observed.offered(cluster, a_resource())
    assert (found.problem and found.problem[0]) == reason
    assert found.also == ((AT,) if reason is None else ())
    assert observed.offered(cluster, Resource("chat", "ns", "u-1", a_spec())) == observed.Offered()


def test_an_api_server_that_does_not_answer_is_no_missing_kuberay():
    with pytest.raises(ClusterError):
        observed.offered(Kinds("ray.io/v1", refuses=500), a_resource())
