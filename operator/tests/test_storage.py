"""What the condition StorageReady says of claims and volumes."""

import copy
import dataclasses

import pytest
from aurora_core.protocol.agent import Volume
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile.plan import plan
from operator_support import a_snapshot, a_spec, settled

MAKER = "volume.kubernetes.io/storage-provisioner"
AWAY = ("standard", "csi.example.com")


def claim_of(snapshot, **more):
    body = next(child for child in snapshot.children.values() if child["kind"] == "PersistentVolumeClaim")
    changed = copy.deepcopy(dict(body)) | {"status": {"phase": "Bound"}}
    for part, value in more.items():
        changed[part] = changed.get(part, {}) | value
    return changed


def storage(snapshot, claim, *pods):
    seen = a_snapshot(snapshot.spec, pods=pods or snapshot.pods, children=[claim] if claim else [])
    found = next(c for c in plan(seen).status["conditions"] if c["type"] == "StorageReady")
    return found["status"], found["reason"], found["message"]


def test_the_condition_of_the_volume():
    snapshot, _ = settled()
    bound = claim_of(snapshot)
    engine = Pod("a", "10.0.0.1", 0, 0, 1.0)
    half, full = Volume(free=50, total=100), Volume(free=2, total=100)
    assert storage(snapshot, bound, dataclasses.replace(engine, volume=half))[:2] == ("True", "Bound")
    assert storage(snapshot, bound, dataclasses.replace(engine, volume=full))[:2] == ("False", "VolumeFull")
    assert storage(snapshot, bound, dataclasses.replace(engine, volume_problem="EIO"))[:2] == ("False", "VolumeFailing")
    assert storage(snapshot, claim_of(snapshot, status={"phase": "Lost"}))[:2] == ("False", "ClaimLost")
    exclusive = claim_of(snapshot, spec={"accessModes": ["ReadWriteOncePod"]})
    assert storage(snapshot, exclusive)[:2] == ("False", "ClaimExclusive")
    assert storage(snapshot, None)[:2] == ("Unknown", "ClaimNew")
    named, _ = settled(a_spec(weights={"claimName": "shared"}))
    assert storage(named, None)[:2] == ("False", "ClaimMissing")


def pending(snapshot, kind, maker):
    claim = claim_of(snapshot, status={"phase": "Pending"}, spec={"storageClassName": kind} if kind else {})
    claim["metadata"]["annotations"] = {MAKER: maker} if maker else {}
    return storage(snapshot, claim)


@pytest.mark.parametrize(
    ("mode", "kind", "maker", "reason", "part"),
    [
        ("ReadWriteMany", None, "", "ClaimClassless", "the cluster has no default: delete the resource"),
        (
            "ReadWriteMany",
            "gp3",
            "ebs.csi.aws.com",
            "ClaimUnshareable",
            "ebs.csi.aws.com of storage class gp3 provisions",
        ),
        ("ReadWriteMany", *AWAY, "ClaimPending", "many storage classes have no ReadWriteMany; if standard has none, "),
        ("ReadWriteOnce", "gp3", "ebs.csi.aws.com", "ClaimPending", "kubectl describe pvc chat-weights says why"),
    ],
)
def test_a_claim_without_a_volume_says_what_is_known_of_why(mode, kind, maker, reason, part):
    snapshot, _ = settled(a_spec(weights={"template": {"accessMode": mode}}))
    status, found, message = pending(snapshot, kind, maker)
    assert (status, found) == ("False", reason)
    assert part in message
    assert ("ReadWriteMany" in message) == (reason == "ClaimUnshareable" or maker == AWAY[1])


@pytest.mark.parametrize(
    ("kind", "reason", "part"),
    [
        ("Resizing", "Growing", "claim chat-weights of 20Gi grows to 40Gi: the storage expands its volume"),
        ("FileSystemResizePending", "Growing", "its file system grows once a pod mounts it"),
        ("ControllerResizeError", "GrowFailing", "claim chat-weights of 20Gi cannot grow to 40Gi: quota exceeded"),
        ("ModifyingVolume", "Bound", "claim chat-weights is bound"),
    ],
)
def test_a_claim_that_grows_says_so(kind, reason, part):
    snapshot, _ = settled()
    condition = {"type": kind, "status": "True", "message": "quota exceeded"}
    status = {"phase": "Bound", "capacity": {"storage": "20Gi"}, "conditions": [condition]}
    size = {"resources": {"requests": {"storage": "40Gi"}}}
    found = storage(snapshot, claim_of(snapshot, status=status, spec=size))
    assert found[:2] == ("True", reason)
    assert part in found[2]


def test_a_claim_that_is_being_deleted_is_no_longer_ready():
    snapshot, _ = settled()
    claim = claim_of(snapshot, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert storage(snapshot, claim)[:2] == ("False", "ClaimDeleted")


def test_a_retained_claim_has_no_owner_and_everything_else_has():
    _, children = settled()
    owners = {c["metadata"]["name"]: "ownerReferences" in c["metadata"] for c in children}
    assert owners.pop("chat-weights") is False
    claim = next(c for c in children if c["kind"] == "PersistentVolumeClaim")["metadata"]
    # The label by which Argo CD, by default until its version 3, knows what is an application's.
    assert "app.kubernetes.io/instance" not in claim["labels"]
    assert claim["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    assert all(owners.values())
    _, children = settled(a_spec(weights={"onDelete": "Delete"}))
    assert all("ownerReferences" in c["metadata"] for c in children)
