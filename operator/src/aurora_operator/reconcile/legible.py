"""Whether an object of the cluster has the form that a reconcile relies on; one that has not must not end it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from aurora_core.printable import printable
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


def _time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


Time = Annotated[str, AfterValidator(_time)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Owner(_Part):
    uid: str


class _Metadata(_Part):
    name: str
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owners: list[_Owner] | None = Field(None, alias="ownerReferences")
    created: Time | None = Field(None, alias="creationTimestamp")


class _Condition(_Part):
    type: str
    status: str


class _Running(_Part):
    since: Time = Field(alias="startedAt")


class _Terminated(_Part):
    exit_code: int | None = Field(None, alias="exitCode")
    since: Time | None = Field(None, alias="startedAt")
    until: Time | None = Field(None, alias="finishedAt")


class _State(_Part):
    waiting: dict[str, Any] | None = None
    running: _Running | None = None
    terminated: _Terminated | None = None


class _Container(_Part):
    name: str
    state: _State | None = None
    last: _State | None = Field(None, alias="lastState")
    restarts: int | None = Field(None, alias="restartCount")


class _Status(_Part):
    conditions: list[_Condition] | None = None
    init: list[_Container] | None = Field(None, alias="initContainerStatuses")
    containers: list[_Container] | None = Field(None, alias="containerStatuses")
    address: str | None = Field(None, alias="podIP")
    started: Time | None = Field(None, alias="startTime")
    phase: str | None = None
    ready: int | None = None
    succeeded: int | None = None


class _Object(_Part):
    metadata: _Metadata
    status: _Status | None = None


class _PodMetadata(_Metadata):
    labels: dict[str, str]


class _Pod(_Object):
    metadata: _PodMetadata
    status: _Status = Field(default_factory=_Status)


class _ClaimSpec(_Part):
    modes: list[str] = Field(alias="accessModes")


class _Claim(_Object):
    spec: _ClaimSpec


class _Annotations(_Part):
    annotations: dict[str, str] | None = None


class _Template(_Part):
    metadata: _Annotations = Field(default_factory=_Annotations)


class _WorkloadSpec(_Part):
    completions: int | None = None
    manager: str | None = Field(None, alias="managedBy")
    suspend: bool | None = None
    template: _Template = Field(default_factory=_Template)


class _Workload(_Object):
    spec: _WorkloadSpec = Field(default_factory=_WorkloadSpec)


class _Group(_Part):
    template: dict[str, Any] = Field(default_factory=dict)
    name: str = Field("", alias="groupName")


class _RaySpec(_Part):
    suspend: bool | None = None
    head: _Group = Field(default_factory=_Group, alias="headGroupSpec")
    groups: list[_Group] = Field(default_factory=list, alias="workerGroupSpecs")


class _RayCluster(_Object):
    spec: _RaySpec = Field(default_factory=_RaySpec)


class _Values(_Object):
    data: dict[str, str] | None = None
    plain: dict[str, str] | None = Field(None, alias="stringData")


_FORMS: Mapping[str, type[_Object]] = {
    "Pod": _Pod,
    "PersistentVolumeClaim": _Claim,
    "Deployment": _Workload,
    "Job": _Workload,
    "RayCluster": _RayCluster,
    "Secret": _Values,
    "ConfigMap": _Values,
}


def flaw(body: Mapping[str, Any], kind: str) -> str:
    """What an object of this kind lacks to be read, or an empty string; names fields, and never quotes a value."""
    try:
        _FORMS.get(kind, _Object).model_validate(body)
    except ValidationError as error:
        one = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(printable(str(part), 60) for part in one['loc'])}: {printable(one['msg'], 200)}"
    return ""
