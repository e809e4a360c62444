"""A resource and the cluster around it, as plain data."""

import copy
import json
from datetime import UTC, datetime

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status
from aurora_operator.promotion.progress import Pod, Published
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import Snapshot, key
from aurora_operator.render.identity import MANAGER, Images

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
IMAGES = Images("registry/engine:1", "registry/trainer:1")


def a_spec(**more):
    base = {
        "mode": "ExternalWithoutDraft",
        "target": {"model": "org/model"},
        "promotion": {"prometheus": {"url": "http://prometheus:9090"}},
    }
    return Spec.model_validate(base | more)


def a_body(spec, status=None, annotations=None):
    metadata = {"name": "chat", "namespace": "ns", "uid": "u-1", "generation": 3, "resourceVersion": "7"}
    return {
        "apiVersion": "aurora-operator.io/v1alpha1",
        "kind": "SpeculatorDeployment",
        "metadata": metadata | {"annotations": annotations or {}},
        "spec": spec.model_dump(mode="json", by_alias=True),
        "status": (status or Status()).model_dump(mode="json", by_alias=True),
    }


def a_snapshot(spec=None, status=None, annotations=None, children=(), **more):
    spec, status = spec or a_spec(), status or Status()
    more.setdefault("versions", (Published(0, None),))
    return Snapshot(
        body=a_body(spec, status, annotations),
        spec=spec,
        status=status,
        now=more.pop("now", NOW),
        images=IMAGES,
        children={key(child): child for child in children},
        new_credentials={"admin": "1", "agent": "2", "samples": "3"},
        **more,
    )


def fields_of(value, at=()):
    """Managed fields of what was applied, as the API server keeps them; here items with a name are merged by it."""
    if isinstance(value, dict):
        skipped = {(): ("apiVersion", "kind"), ("metadata",): ("name", "namespace")}.get(at, ())
        return {f"f:{k}": fields_of(v, (*at, k)) for k, v in value.items() if k not in skipped}
    if isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value):
        return {f'k:{{"name":{json.dumps(item["name"])}}}': {".": {}} | fields_of(item, (*at, "-")) for item in value}
    return {}


def as_applied(body):
    """What is there after it was applied."""
    live = copy.deepcopy(dict(body))
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields_of(body)}
    live["metadata"]["managedFields"] = [entry]
    return live


def taken_over(live, steps, manager="other"):
    """An object of which another client set a field."""
    live = copy.deepcopy(live)
    fields = live["metadata"]["managedFields"][0]["fieldsV1"]
    for step in steps[:-1]:
        fields = fields[step]
    value = fields.pop(steps[-1])
    for step in reversed(steps):
        value = {step: value}
    live["metadata"]["managedFields"].append({"manager": manager, "operation": "Update", "fieldsV1": value})
    return live


def settled(spec=None, **more):
    """The snapshot after everything was applied, and the status written."""
    snapshot = a_snapshot(spec, pods=(Pod("a", "10.0.0.1", 0, 0, 1.0),), versions=(Published(0, None),), **more)
    children = []
    for _ in range(3):
        snapshot = a_snapshot(
            snapshot.spec,
            pods=snapshot.pods,
            versions=snapshot.versions,
            children=children,
            engine_pods=snapshot.engine_pods,
            **more,
        )
        for body in plan(snapshot).apply:
            live = as_applied(body)
            if body["metadata"]["name"] == "chat-init":
                live["status"] = {"succeeded": 1}
            children.append(live)
    return snapshot, children


def having(children, name, **status):
    """The children, one of them with this status."""
    return [c | {"status": status} if c["metadata"]["name"] == name else c for c in children]


def reported(kind, **snapshot):
    """Reason and message of a condition, planned from a snapshot."""
    found = next(c for c in plan(a_snapshot(**snapshot)).status["conditions"] if c["type"] == kind)
    return found["reason"], found["message"]
