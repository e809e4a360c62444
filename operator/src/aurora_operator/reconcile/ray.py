"""Mode Online's Ray cluster: whether KubeRay is there to run one, and how it goes, as the condition RayReady."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from aurora_operator.clients.cluster import Cluster
from aurora_operator.errors import ClusterError
from aurora_operator.reconcile.pods import condition_of, is_ready, outlived, trouble
from aurora_operator.reconcile.readiness import Seen
from aurora_operator.reconcile.snapshot import Key, Snapshot
from aurora_operator.render.identity import Resource
from aurora_operator.render.ray import API, DRIVER, KIND
from aurora_operator.render.training import QUEUE

CONDITION = "RayReady"
_GROUP = API.split("/", maxsplit=1)[0]
_SILENT = timedelta(seconds=60)
"""KubeRay writes a RayCluster's status at once."""
_INSTALL = (
    "install KubeRay 1.3 or newer (helm repository https://ray-project.github.io/kuberay-helm, chart kuberay-operator)"
)
_UNKNOWN_FIELD = "field not declared in schema"
"""Of a refusal by an API server whose definition of RayClusters is older than what is rendered."""


class Offered(NamedTuple):
    """What the cluster has for mode Online.

    Attributes:
        also: what is to be read beside the objects of every mode.
        problem: why there can be no Ray cluster, reason and message; None where there can.
    """

    also: tuple[Key, ...] = ()
    problem: tuple[str, str] | None = None


def offered(cluster: Cluster, resource: Resource) -> Offered:
    """Whether there can be a Ray cluster, which may change while the operator runs.

    Raises:
        ClusterError: the API server does not answer.
    """
    if not resource.online:
        return Offered()
    if not cluster.serves(API, KIND):
        if cluster.serves(f"{_GROUP}/v1alpha1", KIND):
            return Offered(problem=("KubeRayTooOld", f"KubeRay is older than 1.0, which brought {API}: {_INSTALL}"))
        return Offered(problem=("KubeRayMissing", f"the cluster has no kind {KIND} of {API}: {_INSTALL}"))
    try:
        cluster.get(API, KIND, resource.namespace, resource.ray)
    except ClusterError as error:
        if error.status != 403:  # noqa: PLR2004 (HTTP's own)
            raise
        text = f"{error}: set ray.enabled of this operator's chart, which gives it the right to RayClusters"
        return Offered(problem=("KubeRayForbidden", text))
    return Offered(also=((API, KIND, resource.ray),))


def key(snapshot: Snapshot) -> Key:
    """The key of the RayCluster."""
    return API, KIND, snapshot.resource.ray


def of(snapshot: Snapshot) -> Mapping[str, Any] | None:
    """The RayCluster, where there is one."""
    return snapshot.children.get(key(snapshot))


def refused(snapshot: Snapshot) -> str:
    """Why KubeRay cannot make pods, in its own message."""
    return str((condition_of(of(snapshot), "ReplicaFailure") or {}).get("message", ""))


def _not_taken(snapshot: Snapshot) -> Seen | None:
    """Why the API server does not take the RayCluster, as it answered the last reconcile."""
    for problem in snapshot.problems:
        if problem.about == key(snapshot):
            old = _UNKNOWN_FIELD in problem.message
            text = f"{problem.message}: the CRDs of KubeRay are too old: {_INSTALL}" if old else problem.message
            return Seen("False", "KubeRayTooOld" if old else problem.reason, text)
    return None


def _held(snapshot: Snapshot, cluster: Mapping[str, Any]) -> Seen | None:
    """Why KubeRay does nothing with the cluster: it does not run, or another client suspended it."""
    made, name = cluster["metadata"].get("creationTimestamp"), snapshot.resource.ray
    if not cluster.get("status") and made is not None and snapshot.now - datetime.fromisoformat(made) > _SILENT:
        text = f"KubeRay has not acted on RayCluster {name}: check that its operator runs and watches this namespace"
        return Seen("False", "KubeRaySilent", text)
    if not (cluster.get("spec") or {}).get("suspend"):
        return None
    queue = (cluster["metadata"].get("labels") or {}).get(QUEUE)
    if queue is None:
        return Seen("False", "Queued", f"RayCluster {name} is suspended by another client, which has to resume it")
    text = f"RayCluster {name} waits in queue {queue}: kubectl describe workloads in its namespace shows why"
    return Seen("False", "Queued", text)


def _impossible(snapshot: Snapshot) -> Seen | None:
    """Why there is no RayCluster; None where there is one."""
    if snapshot.kuberay is not None:
        return Seen("False", *snapshot.kuberay)
    not_taken = _not_taken(snapshot)
    if not_taken is None and of(snapshot) is None:
        text = f"RayCluster {snapshot.resource.ray} is made once the target and version 0 are on the volume"
        return Seen("Unknown", "ClusterNew", text)
    return not_taken


def ready(snapshot: Snapshot) -> Seen:
    """Whether the head runs and its driver, by which actors are placed and replaced; and why they do not."""
    impossible, cluster = _impossible(snapshot), of(snapshot)
    if impossible is not None or cluster is None:
        return impossible or Seen("Unknown", "ClusterNew", "")
    held = _held(snapshot, cluster)
    if held is not None:
        return held
    if any(is_ready(pod) and outlived(pod, snapshot.now) for pod in snapshot.head_pods):
        return Seen("True", "HeadReady", f"the head runs, and its {DRIVER}")
    why = trouble(snapshot.head_pods) or refused(snapshot)
    return Seen("False", "HeadFailing", why) if why else Seen("Unknown", "HeadStarting", "the head is not running yet")
