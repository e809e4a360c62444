"""Which pods are a resource's own: what their labels and names say, anybody who may create a pod can say as well.

A pod is believed where its controllers lead to what the operator itself made: from an engine pod over a ReplicaSet to
the Deployment, from other pods to a Job or a RayCluster, by their UIDs. Only such a pod is sent credentials, reported,
and compared.
Whoever may create a pod may still name the ReplicaSet as its controller, which then counts it as one of its own.
Where serving.adopt names the pods of another owner's workload, exactly those are believed that its selector matches and
that carry the agent with the resource's key; their answers are signed with it, as all are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aurora_operator.render.identity import Resource
from aurora_operator.render.ray import API, KIND

_KNOWN_WITHIN = timedelta(seconds=30)
"""So long a pod may be known before its ReplicaSet is: they are watched separately."""

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Pods:
    """The pods that carry a resource's labels.

    Attributes:
        own: those that it made.
        strangers: names of those that it did not make, and that no controller of its own will ever have.
    """

    own: tuple[dict[str, Any], ...] = ()
    strangers: tuple[str, ...] = ()


def controller(body: Body) -> str:
    """UID of the object that made this one and controls it; empty where there is none."""
    owners = body["metadata"].get("ownerReferences") or ()
    return next((str(one["uid"]) for one in owners if one.get("controller")), "")


def made_by(resource: Resource, children: Mapping[tuple[str, str, str], Body], sets: Iterable[Body]) -> frozenset[str]:
    """UIDs of the objects whose pods are the resource's own.

    Args:
        resource: whose.
        children: the objects that the operator made, by apiVersion, kind and name.
        sets: ReplicaSets, of whomever.
    """
    # A RayCluster makes its pods itself.
    jobs = {("batch/v1", "Job", resource.init), ("batch/v1", "Job", resource.trainer), (API, KIND, resource.ray)}
    found = {children[at]["metadata"].get("uid") for at in jobs if at in children}
    deployment = children.get(("apps/v1", "Deployment", resource.engine))
    uid = deployment["metadata"].get("uid") if deployment is not None else None
    if uid:
        found |= {one["metadata"].get("uid") for one in sets if controller(one) == uid}
    return frozenset(str(one) for one in found if one)


@dataclass(frozen=True)
class Adopted:
    """The pods that serving.adopt.selector matches.

    Attributes:
        fit: those that carry the agent with the resource's own key.
        unfit: names of the others.
    """

    fit: tuple[dict[str, Any], ...] = ()
    unfit: tuple[str, ...] = ()


def _has_agent(pod: Body, secret: str) -> bool:
    """Whether a container of it gets the agent's key of this Secret; its answers show whether that is an agent."""
    variables = (one for made in pod["spec"].get("containers") or () for one in made.get("env") or ())
    named = ((one.get("valueFrom") or {}).get("secretKeyRef") or {} for one in variables)
    return any((one.get("name"), one.get("key")) == (secret, "agent") for one in named)


def adopted(resource: Resource, pods: Sequence[dict[str, Any]], makers: frozenset[str]) -> Adopted:
    """The engine pods of another owner.

    Args:
        resource: who adopts them.
        pods: that its selector matches; its own trainer may be among them.
        makers: UIDs of the objects whose pods are the resource's own.
    """
    others = [pod for pod in pods if controller(pod) not in makers]
    fit = tuple(pod for pod in others if _has_agent(pod, resource.secret))
    names = {pod["metadata"]["name"] for pod in fit}
    unfit = sorted(one for pod in others if (one := pod["metadata"]["name"]) not in names)
    return Adopted(fit, tuple(unfit))


def sorted_out(pods: Sequence[dict[str, Any]], makers: frozenset[str], now: datetime) -> Pods:
    """Own pods, and strangers; what is about to go, or so new that its ReplicaSet may not be known yet, is neither."""

    def is_settled(body: Body) -> bool:
        created = body["metadata"].get("creationTimestamp")
        return not body["metadata"].get("deletionTimestamp") and (
            created is None or now - datetime.fromisoformat(created) > _KNOWN_WITHIN
        )

    own = tuple(pod for pod in pods if controller(pod) in makers)
    others = (pod for pod in pods if controller(pod) not in makers and is_settled(pod))
    return Pods(own, tuple(sorted(pod["metadata"]["name"] for pod in others)))
