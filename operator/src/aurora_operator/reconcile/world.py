"""What was observed: plain data, from which alone the plan is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.promotion.trial import Found
from aurora_operator.render.identity import Images, Resource

Key = tuple[str, str, str]
"""apiVersion, kind, name."""


def key(body: Mapping[str, Any]) -> Key:
    """The key of an object."""
    return body["apiVersion"], body["kind"], body["metadata"]["name"]


@dataclass(frozen=True)
class Problem:
    """What could not be done; shown as the reason and message of the condition Degraded."""

    reason: Literal["LoadFailing", "ApplyRefused"]
    message: str


def succeeded(job: Mapping[str, Any] | None) -> bool:
    """Whether a Job did what it was made for."""
    return int(((job or {}).get("status") or {}).get("succeeded") or 0) > 0


@dataclass(frozen=True)
class World:
    """One look at a resource and everything around it.

    Attributes:
        body: the resource as the API server has it.
        children: the objects that it should have, where they exist.
        taken: those whose name somebody else's object has.
        engine_pods, trainer_pods: as the API server has them.
        pods: what the agents of ready engine pods tell.
        versions: what is on the volume; None while no agent could tell.
        training: what the trainer tells of itself.
        found: what Prometheus told.
        problems: what the last look could not do.
        new_keys: fresh random keys, used only where the Secret is not there yet.
    """

    body: Mapping[str, Any]
    spec: Spec
    status: Status
    now: datetime
    images: Images
    children: Mapping[Key, Mapping[str, Any]] = field(default_factory=dict)
    taken: frozenset[Key] = frozenset()
    engine_pods: tuple[Mapping[str, Any], ...] = ()
    trainer_pods: tuple[Mapping[str, Any], ...] = ()
    pods: tuple[Pod, ...] = ()
    versions: tuple[Published, ...] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    found: Found = field(default_factory=Found)
    problems: tuple[Problem, ...] = ()
    new_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> Resource:
        """Its identity and spec."""
        metadata = self.body["metadata"]
        made = Resource(metadata["name"], metadata["namespace"], metadata["uid"], self.spec)
        claim, template = self.children.get(("v1", "PersistentVolumeClaim", made.claim)), self.spec.weights.template
        modes = claim["spec"]["accessModes"] if claim else [template.access_mode] if template else ["ReadWriteMany"]
        return replace(made, one_node="ReadWriteMany" not in modes)

    @property
    def prepared(self) -> bool:
        """Whether the target is on the volume, and version 0."""
        return succeeded(self.children.get(("batch/v1", "Job", self.resource.init)))

    @property
    def generation(self) -> int:
        """Generation of the spec."""
        return int(self.body["metadata"].get("generation", 0))
