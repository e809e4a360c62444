"""One round of hostile data through parse and plan, as a reconcile does it without the network."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from aurora_core.protocol.agent import Contents
from aurora_core.protocol.engine import EngineState
from aurora_core.protocol.message import MalformedError
from aurora_core.protocol.trainer import TrainerStatus
from aurora_operator.api.reading import read
from aurora_operator.api.status import Status
from aurora_operator.errors import SpecError
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile.legible import flaw
from aurora_operator.reconcile.observe import published
from aurora_operator.reconcile.plan import Plan, plan
from aurora_operator.reconcile.snapshot import Snapshot, key
from aurora_operator.reconcile.unreadable import degraded
from aurora_operator.render.identity import Images
from hostile import mutated

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
CREDENTIALS = {"admin": "1", "agent": "2", "samples": "3"}
IMAGES = Images("registry/engine:1", "registry/trainer:1")
AT = "2026-01-01T11:00:00Z"

SPEC: dict[str, Any] = {
    "mode": "ExternalWithoutDraft",
    "target": {"model": "/model/x", "volume": {"claimName": "models", "subPath": "x"}},
    "draft": {"numSteps": 3, "numDraftTokens": 4, "draftVocabSize": 64, "auxLayers": [1, 2, 3]},
    "serving": {
        "replicas": 2, "device": "cuda", "image": "r/e:1", "threads": 2, "extraArgs": ["--log-level", "info"],
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
        "podTemplate": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
                "nodeSelector": {"gpu": "h100"}, "tolerations": [{"operator": "Exists"}],
                "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "shm", "emptyDir": {}}],
                "containers": [{
                    "name": "engine", "image": "x", "resources": {"limits": {"cpu": 2}},
                    "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                    "volumeMounts": [{"name": "c", "mountPath": "/c"}], "ports": [{"containerPort": 30000}],
                }, {"name": "sidecar"}],
                "initContainers": [{"name": "first", "command": ["true"]}],
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
                "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["x"]}], "imagePullSecrets": [{"name": "r"}],
            },
        },
    },
    "training": {
        "device": "cpu", "hyperparameters": {"lr": 0.001, "tttLength": 3, "numTrainSteps": 5},
        "podTemplate": {"spec": {"containers": [{"name": "trainer", "env": [{"name": "X", "value": "y"}]}]}},
    },
    "samples": {"transport": "Mooncake", "mooncakeMaster": "m:1", "mooncakeMetadata": "http://m", "sampleRate": 0.5},
    "weights": {"template": {"size": "1Gi", "accessMode": "ReadWriteOnce"}, "keep": 3},
    "promotion": {
        "strategy": "Auto", "prometheus": {"url": "http://p:9090"}, "gate": {"confidence": 0.9, "sliceSeconds": 60},
        "guards": [{"name": "g", "query": "up $version", "max": 1.0, "maxRatioToStable": 2.0}],
    },
    "suspend": False,
}  # fmt: skip
STATUS = Status.model_validate(
    {
        "observedGeneration": 2,
        "conditions": [{"type": "Degraded", "status": "False", "reason": "AsExpected", "lastTransitionTime": AT}],
        "stable": {"version": 3, "digest": "d", "steps": 3, "since": AT, "acceptLength": 2.1, "acceptVariance": 0.1,
                   "checked": AT, "previous": 1, "previousSteps": 0},
        "candidate": {"version": 4, "steps": 3, "since": AT, "analyses": 3, "estimate": 1.1, "lower": 1.0,
                      "upper": 1.2},
        "serving": {"replicas": 2, "ready": 1, "versions": [3], "dtypes": ["bfloat16"]},
        "training": {"step": 4, "tokens": 5, "loss": 1.0, "lastPublished": 4},
        "decided": 3,
        "history": [{"time": AT, "version": 3, "verdict": "Promoted", "reason": "better"}] * 2,
    }
).model_dump(mode="json", by_alias=True)  # fmt: skip
LIVE = {
    "draft": {"live": 3, "failed": {"4": "no"}}, "steps": 3, "capture": {"rate": 1.0}, "dtype": "bfloat16",
    "fallback": "",
}  # fmt: skip
VERSIONS = {"versions": [{"version": v, "holdout_accept_length": 2.0, "digest": "d"} for v in (0, 3, 4, 5)]}
TRAINING = {
    "step": 3,
    "tokens": 5,
    "loss": 1.5,
    "samples": 4,
    "published": 4,
    "precision": "bf16",
}
CONTAINER = {
    "name": "engine", "restartCount": 2, "state": {"running": {"startedAt": AT}},
    "lastState": {"terminated": {"exitCode": 1, "startedAt": AT, "finishedAt": AT, "message": "boom\nboom"}},
}  # fmt: skip
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "chat-engine-a", "labels": {"app.kubernetes.io/component": "engine"}},
    "status": {
        "phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [CONTAINER], "initContainerStatuses": [CONTAINER],
    },
}  # fmt: skip


def body(spec: Any, status: Any = None) -> dict[str, Any]:
    """A resource with this spec and status, whatever they are."""
    metadata = {"name": "chat", "namespace": "ns", "uid": "u-1", "generation": 3, "resourceVersion": "7"}
    return {
        "apiVersion": "aurora-operator.io/v1alpha1", "kind": "SpeculatorDeployment",
        "metadata": metadata | {"annotations": {}}, "spec": spec, "status": status,
    }  # fmt: skip


def children() -> list[dict[str, Any]]:
    """What a reconcile of SPEC makes, as an API server would have it later."""
    reading = read(body(SPEC, STATUS))
    snapshot = Snapshot(body(SPEC), reading.spec, reading.status, NOW, IMAGES, new_credentials=CREDENTIALS)
    first = [dict(one) for one in plan(snapshot).apply]
    for one in first:
        if one["kind"] == "Job":
            one["status"] = {"succeeded": 1, "startTime": AT, "conditions": [{"type": "Complete", "status": "True"}]}
    prepared = Snapshot(
        body(SPEC), reading.spec, reading.status, NOW, IMAGES, children={key(one): one for one in first},
        new_credentials=CREDENTIALS,
    )  # fmt: skip
    return [*first, *(dict(one) for one in plan(prepared).apply)]


CHILDREN = children()


def planned(rng: random.Random, spec: Any, status: Any, rate: float) -> Plan | None:
    """What a reconcile plans for this resource, with children and answers of any form; None where refused."""
    resource = body(spec, status)
    try:
        reading = read(resource)
    except SpecError as error:
        _check_refusal(resource, error)
        return None
    changed = [(mutated(rng, child, rate), child["kind"]) for child in CHILDREN]
    found = [one for one, kind in changed if _is_object(one) and not flaw(one, kind)]
    pods = [one for one in (mutated(rng, POD, rate) for _ in range(3)) if _is_object(one) and not flaw(one, "Pod")]
    reported, versions, training = [], None, None
    for pod in pods:
        try:
            live = EngineState.read(mutated(rng, LIVE, rate))
            reported.append(Pod(pod["metadata"]["name"], "10.0.0.1", live.draft.live, live.steps, live.capture.rate,
                            live.capture.share, live.capture.why_paused, live.draft.failed,
                            dtype=live.dtype, fallback=live.fallback))  # fmt: skip
            versions = published(Contents.read(mutated(rng, VERSIONS, rate)))
            training = TrainerStatus.read(mutated(rng, TRAINING, rate))
        except MalformedError as error:
            _check_length(error)
    snapshot = Snapshot(
        body=resource, spec=reading.spec, status=reading.status, now=NOW + timedelta(seconds=rng.randrange(100_000)),
        images=IMAGES, children={key(one): one for one in found}, engine_pods=tuple(pods), trainer_pods=tuple(pods),
        pods=tuple(reported), versions=versions, training=training, ignored=reading.ignored,
        new_credentials=CREDENTIALS,
    )  # fmt: skip
    made = plan(snapshot)
    for condition in (made.status or {}).get("conditions", ()):
        assert len(condition["message"]) <= 800
        assert condition["message"].isprintable()
    return made


def _check_length(error: Exception) -> None:
    assert len(str(error)) < 4000


def _check_refusal(resource: dict[str, Any], error: Exception) -> None:
    _check_length(error)
    assert degraded(resource, "SpecUnreadable", str(error), NOW)


def _is_object(one: Any) -> bool:
    """What an API server gives at least: an object that says what and whose it is."""
    if not (isinstance(one, dict) and isinstance(one.get("metadata"), dict)):
        return False
    return all(isinstance(text, str) for text in (one.get("kind"), one.get("apiVersion"), one["metadata"].get("name")))


def round_of(rng: random.Random) -> Plan | None:
    """One round, of which everything follows from these random numbers."""
    rate = rng.choice((0.0, 0.003, 0.02, 0.1))
    spec = mutated(rng, SPEC, rng.choice((0.0, 0.003, 0.02)))
    status = mutated(rng, STATUS, rng.choice((0.0, 0.01, 0.05)))
    return planned(rng, spec, status, rate)
