"""Who an object belongs to: names, labels, owner."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aurora_core.config.base import Config
from pydantic import Field

from aurora_operator.api import GROUP, KIND, VERSION
from aurora_operator.api.spec import Spec

MANAGER = "aurora-operator"
"""Field manager under which the operator applies objects."""
INSTANCE = "app.kubernetes.io/instance"
"""Label with the resource's name."""
SPECULATOR = "aurora-operator.io/speculator"
"""Label with the resource's name of what outlives it. INSTANCE would be taken for theirs by tools that delete what is
labelled so and neither in git nor owned: an Argo CD application of the resource's name."""
KEPT = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
    "helm.sh/resource-policy": "keep",
}
"""Annotations by which tools know that an object is not theirs to delete."""
COMPONENT = "app.kubernetes.io/component"
"""Label that says what an object is for: engine, trainer, init, config, weights."""
POD_SET = "aurora-operator.io/pod-set"
"""Label of engine pods by which Services NAME-stable and NAME-canary select them, where a route deals requests."""
STABLE, CANARY = "stable", "canary"
"""Its values."""
_NAME = {"app.kubernetes.io/name": "aurora"}
MANAGED_BY = {"app.kubernetes.io/managed-by": "aurora-operator"}
"""Label of all that the operator makes."""


def speculator(labels: Mapping[str, str]) -> str:
    """Name of the resource that an object with these labels is for; empty where they do not say so."""
    return labels.get(SPECULATOR) or labels.get(INSTANCE, "")


class PodUser(Config):
    """As whom pods run. What is None the cluster assigns itself, as OpenShift does; root is none of them."""

    run_as_user: int | None = Field(None, ge=1)
    """User of their processes."""
    run_as_group: int | None = Field(None, ge=1)
    """Group of them."""
    fs_group: int | None = Field(None, ge=1)
    """Group of what they write to volumes."""


NOBODY = PodUser(run_as_user=65532, run_as_group=65532, fs_group=65532)
"""Where the administrator says nothing."""


@dataclass(frozen=True)
class Images:
    """Images that are used where the spec names none, and how all images are fetched and run.

    Attributes:
        engine, trainer: references.
        pull_policy: of all containers.
        pull_secrets: Secrets of a resource's namespace with which all of its pods fetch images.
        user: as whom pods run.
    """

    engine: str
    trainer: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    user: PodUser = NOBODY


@dataclass(frozen=True)
class Resource:
    """A SpeculatorDeployment.

    Attributes:
        one_node: whether its pods must share a node, because only one can have the volume.
    """

    name: str
    namespace: str
    uid: str
    spec: Spec
    one_node: bool = False

    @property
    def full_name(self) -> str:
        """Namespace and name, the value of the label speculator of every metric."""
        return f"{self.namespace}/{self.name}"

    @property
    def engine(self) -> str:
        """Name of the engine Deployment."""
        return f"{self.name}-engine"

    @property
    def trainer(self) -> str:
        """Name of the trainer Job."""
        return f"{self.name}-trainer"

    @property
    def ranks(self) -> str:
        """Name of the Service by which several trainer pods find each other."""
        return f"{self.name}-ranks"

    @property
    def online(self) -> bool:
        """Whether one Ray cluster serves and trains."""
        return self.spec.mode == "Online"

    @property
    def adopted(self) -> dict[str, str] | None:
        """Labels of the engine pods of another owner; None where the operator makes them."""
        return None if self.spec.serving.adopt is None else self.spec.serving.adopt.selector

    @property
    def ray(self) -> str:
        """Name of the RayCluster; KubeRay names its head's Service after it."""
        return f"{self.name}-ray"

    @property
    def init(self) -> str:
        """Name of the Job that fetches the target and publishes version 0."""
        return f"{self.name}-init"

    @property
    def config(self) -> str:
        """Name of the ConfigMap with what processes read at their start."""
        return f"{self.name}-config"

    @property
    def desired(self) -> str:
        """Name of the ConfigMap with the version that a starting engine serves."""
        return f"{self.name}-desired"

    @property
    def stable_pods(self) -> str:
        """Name of the Service of the pods that serve stable, where a route deals requests."""
        return f"{self.name}-{STABLE}"

    @property
    def canary_pods(self) -> str:
        """Name of the Service of the pods that take turns with the candidate, where a route deals requests."""
        return f"{self.name}-{CANARY}"

    @property
    def secret(self) -> str:
        """Name of the Secret with the credentials between operator, agent, engine and trainer."""
        return f"{self.name}-keys"

    @property
    def claim(self) -> str:
        """Name of the weights' claim."""
        return self.spec.weights.claim_name or f"{self.name}-weights"

    def labels(self, component: str) -> dict[str, str]:
        """Labels of an object."""
        return {**self.selector(component), **MANAGED_BY}

    def selector(self, component: str) -> dict[str, str]:
        """Labels that select the pods of a component."""
        return {**self.everything, COMPONENT: component}

    @property
    def pods(self) -> dict[str, str]:
        """Labels that its pods have, and none of a Helm release that has its name."""
        return {**self.everything, **MANAGED_BY}

    @property
    def everything(self) -> dict[str, str]:
        """Labels that select all of its pods, and none of a Helm release that has its name."""
        return {**_NAME, INSTANCE: self.name}

    def owns(self, body: Mapping[str, Any]) -> bool:
        """Whether an object is this resource's: it is its owner, or its name was (a claim outlives its owner)."""
        metadata = body["metadata"]
        labels = metadata.get("labels") or {}
        if any(owner["uid"] == self.uid for owner in metadata.get("ownerReferences") or ()):
            return True
        return speculator(labels) == self.name and (_NAME | MANAGED_BY).items() <= labels.items()

    def metadata(self, name: str, component: str, *, owned: bool = True) -> dict[str, Any]:
        """Metadata of an object; owned objects go when the resource goes, others are kept by everybody."""
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels(component),
        }
        if not owned:
            metadata["labels"] = {**_NAME, **MANAGED_BY, SPECULATOR: self.name, COMPONENT: component}
            metadata["annotations"] = dict(KEPT)
        else:
            metadata["ownerReferences"] = [
                {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": KIND,
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ]
        return metadata
