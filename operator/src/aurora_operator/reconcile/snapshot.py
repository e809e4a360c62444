"""What was observed: plain data, from which alone the plan is made."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from aurora_core.credentials import clean
from aurora_core.errors import ConfigError
from aurora_core.protocol.agent import Record
from aurora_core.protocol.trainer import TrainerStatus

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.promotion.trial import Found
from aurora_operator.render import credentials
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.network import NetworkPeers
from aurora_operator.render.route import Split
from aurora_operator.render.training import CLAIM

_EMPTY = timedelta(minutes=5)
"""An agent that reports no version for so long after the init Job ended sees an empty volume."""

Key = tuple[str, str, str]
"""apiVersion, kind, name."""


def key(body: Mapping[str, Any]) -> Key:
    """The key of an object."""
    return body["apiVersion"], body["kind"], body["metadata"]["name"]


@dataclass(frozen=True)
class Problem:
    """What could not be done; shown as the reason and message of the condition Degraded."""

    reason: Literal["LoadFailing", "ApplyRefused", "ApplyFailing", "RecordFailing", "ChildUnreadable", "TwoOperators"]
    message: str
    about: Key | None = None
    """The object that was not taken, where it is one."""


@dataclass(frozen=True)
class Applied:
    """What was last applied of one object.

    Attributes:
        rendered: hashes of it.
        at: when.
        rounds: how many times in a row the same had to be applied again.
        by: who made that necessary, and by what; for people.
    """

    rendered: tuple[str, str]
    at: datetime
    rounds: int = 0
    by: str = ""


@dataclass(frozen=True)
class Routed:
    """The route that deals requests in a Canary.

    Attributes:
        live: as the API server has it; None where it cannot be had.
        splits: its rules that deal to the two Services.
        problem: why it cannot deal requests, reason and message; None where it can.
        endpoints: names of the pods that routers send requests for the canary pods to.
    """

    live: Mapping[str, Any] | None = None
    splits: tuple[Split, ...] = ()
    problem: tuple[str, str] | None = None
    endpoints: frozenset[str] = frozenset()


def decoded(secret: Mapping[str, Any] | None, name: str) -> str:
    """A value of a Secret as text; empty where there is none, or where it is no text."""
    data, plain = (secret or {}).get("data") or {}, (secret or {}).get("stringData") or {}
    if name in plain:
        return str(plain[name])
    try:
        return base64.b64decode(data.get(name) or "").decode()
    except ValueError:
        return ""


def is_credential(value: str) -> bool:
    """Whether a value can be sent in an HTTP header."""
    try:
        return bool(clean(value, ""))
    except ConfigError:
        return False


def succeeded(job: Mapping[str, Any] | None) -> bool:
    """Whether a Job did what it was made for; one of several pods only where the Job itself says so."""
    status, several = (job or {}).get("status") or {}, int(((job or {}).get("spec") or {}).get("completions") or 1) > 1
    complete = any((c["type"], c["status"]) == ("Complete", "True") for c in status.get("conditions") or ())
    return complete if several else int(status.get("succeeded") or 0) > 0


@dataclass(frozen=True)
class Snapshot:
    """A resource and everything around it, as one reconcile observed them.

    Attributes:
        body: the resource as the API server has it.
        children: the objects that it should have, where they exist.
        taken: those whose name an object of another owner has.
        engine_pods, trainer_pods: those that the resource made, as the API server has them.
        head_pods: those of the Ray cluster's head, in mode Online.
        kuberay: why there can be no Ray cluster, reason and message; None where there can, and in other modes.
        route: by which requests are dealt; None where the resource names none.
        strangers: names of pods that carry the resource's labels, and that it did not make.
        unfit: names of pods that serving.adopt matches, and that have no agent of this resource.
        pods: what the agents of ready engine pods report.
        versions: what is on the volume; None while no agent reports it.
        damaged: what of the volume cannot be read, and why.
        record: what the volume records of promotion.
        training: how training goes; None before the trainer reported anything.
        found: what Prometheus reported.
        applied: what this process applied of the children before.
        operator: the installation that acts, stamped on NAME-desired; empty where none is to be distinguished.
        network: who may reach pods; None where that is not limited.
        problems: what the last reconcile could not do.
        new_credentials: fresh random ones, used for those that the Secret lacks.
        api_key: value of serving.apiKeySecret; empty where there is none.
        signing: the keys that weights.signing names, the one that signs first; empty where it names none.
        credential_problem: what is wrong with a Secret of the user; empty where nothing is.
        unusable: fields of the spec that name a Secret which does not allow this use.
        ignored: paths of the resource that this operator does not know or cannot read, and ignores.
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
    head_pods: tuple[Mapping[str, Any], ...] = ()
    kuberay: tuple[str, str] | None = None
    route: Routed | None = None
    strangers: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    pods: tuple[Pod, ...] = ()
    versions: tuple[Published, ...] | None = None
    damaged: Mapping[str, str] = field(default_factory=dict)
    record: Record | None = None
    training: TrainerStatus | None = None
    found: Found = field(default_factory=Found)
    problems: tuple[Problem, ...] = ()
    applied: Mapping[Key, Applied] = field(default_factory=dict)
    operator: str = ""
    network: NetworkPeers | None = None
    new_credentials: Mapping[str, str] = field(default_factory=dict)
    api_key: str = field(default="", repr=False)
    signing: tuple[str, ...] = field(default=(), repr=False)
    credential_problem: str = ""
    unusable: frozenset[str] = frozenset()
    ignored: tuple[str, ...] = ()

    @property
    def resource(self) -> Resource:
        """Its identity and spec."""
        metadata = self.body["metadata"]
        made = Resource(metadata["name"], metadata["namespace"], metadata["uid"], self.spec)
        claim, template = self.children.get(("v1", "PersistentVolumeClaim", made.claim)), self.spec.weights.template
        modes = claim["spec"]["accessModes"] if claim else [template.access_mode] if template else ["ReadWriteMany"]
        return replace(made, one_node="ReadWriteMany" not in modes)

    @property
    def own_credentials(self) -> dict[str, str]:
        """The credentials that the Secret NAME-keys has; one that is empty or no credential counts as missing."""
        secret = self.children.get(("v1", "Secret", self.resource.secret))
        values = {name: decoded(secret, name) for name in credentials.NAMES}
        return {name: value for name, value in values.items() if is_credential(value)}

    @property
    def credentials(self) -> dict[str, str]:
        """The credentials that should be."""
        return credentials.complete(self.own_credentials, self.new_credentials)

    @property
    def claim_uid(self) -> str:
        """Uid of the claim; empty where there is none, or where it is being deleted."""
        claim = self.children.get(("v1", "PersistentVolumeClaim", self.resource.claim))
        metadata = claim["metadata"] if claim else {}
        return "" if metadata.get("deletionTimestamp") else str(metadata.get("uid") or "")

    @property
    def prepared(self) -> bool:
        """Whether the target is on the volume, and version 0: the init Job ended well, or an engine serves from there.

        The Job alone may be gone, as where finished ones are cleaned up.
        """
        done = succeeded(self.children.get(("batch/v1", "Job", self.resource.init)))
        serves = bool(self.versions) and any(pod.live is not None for pod in self.pods)
        return (done or serves) and not self.lost

    @property
    def lost(self) -> bool:
        """Whether what the init Job prepared is gone: its claim was replaced, or its volume has been empty for long."""
        job = self.children.get(("batch/v1", "Job", self.resource.init))
        if job is None or not succeeded(job):
            return False
        prepared = str((job["metadata"].get("annotations") or {}).get(CLAIM) or "")
        if prepared and self.claim_uid and prepared != self.claim_uid:
            return True
        if self.versions is None or self.versions or self.damaged:
            return False
        ended = (job.get("status") or {}).get("completionTime")
        try:
            return ended is not None and self.now - datetime.fromisoformat(str(ended)) > _EMPTY
        except (ValueError, TypeError):
            return False

    @property
    def replicas(self) -> int:
        """Engine pods that there should be; of a workload of another owner, those that there are."""
        if self.resource.adopted is None:
            return self.spec.serving.replicas
        return max(1, sum(not pod["metadata"].get("deletionTimestamp") for pod in self.engine_pods))

    @property
    def generation(self) -> int:
        """Generation of the spec."""
        return int(self.body["metadata"].get("generation", 0))
