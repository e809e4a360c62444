"""The condition StorageReady: whether there is a volume, of the right drafts, that all pods can use."""

from collections.abc import Mapping
from typing import Any

from aurora_core.protocol.agent import FULL

from aurora_operator.reconcile.readiness import Seen
from aurora_operator.reconcile.snapshot import Snapshot

_PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
"""Annotations of a claim in which Kubernetes says who is to make its volume."""
_FOR_ONE_NODE = frozenset(
    {
        "blockvolume.csi.oraclecloud.com",
        "cinder.csi.openstack.org",
        "csi.hetzner.cloud",
        "disk.csi.azure.com",
        "dobs.csi.digitalocean.com",
        "ebs.csi.aws.com",
        "linodebs.csi.linode.com",
        "local.csi.openebs.io",
        "openebs.io/local",
        "pd.csi.storage.gke.io",
        "rancher.io/local-path",
        "topolvm.io",
    }
)
"""Provisioners whose file systems one node can have at a time."""
_GROWTH = {
    "Resizing": "the storage expands its volume",
    "FileSystemResizePending": "its file system grows once a pod mounts it",
}
"""Conditions of a claim that is being made larger."""
_STUCK = ("ControllerResizeError", "NodeResizeError")


def _pending(name: str, claim: Mapping[str, Any], phase: str, *, made: bool) -> Seen:
    """What is known of why a claim has no volume, or none any more; ``made``: by the operator."""
    spec, annotations = claim["spec"], claim["metadata"].get("annotations") or {}
    shared, kind = "ReadWriteMany" in spec["accessModes"], spec.get("storageClassName")
    maker = next((annotations[one] for one in _PROVISIONERS if one in annotations), "")
    again = f"delete the resource and claim {name}, and apply it again with another weights.template"
    remedy = again if made else "make it again"
    if phase == "Pending" and kind is None and "volumeName" not in spec:
        message = f"claim {name} names no storage class, and the cluster has no default: {remedy}"
        return Seen("False", "ClaimClassless", message)
    if shared and maker in _FOR_ONE_NODE:
        message = (
            f"claim {name} asks for ReadWriteMany, but {maker} of storage class {kind} provisions volumes for one "
            f"node: {remedy} (a storageClassName that can, or accessMode: ReadWriteOnce with all pods on one node)"
        )
        return Seen("False", "ClaimUnshareable", message)
    perhaps = f"; many storage classes have no ReadWriteMany; if {kind} has none, {remedy}" if shared else ""
    return Seen("False", f"Claim{phase}", f"claim {name} has no volume: kubectl describe pvc {name} says why{perhaps}")


def _growing(name: str, claim: Mapping[str, Any]) -> Seen | None:
    """Where the claim was asked to grow and has not done so yet."""
    status = claim.get("status") or {}
    found = {c["type"]: str(c.get("message") or "") for c in status.get("conditions") or () if c["status"] == "True"}
    capacity = (status.get("capacity") or {}).get("storage", "its size")
    desired = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "more")
    what = f"claim {name} of {capacity}"
    stuck = next((one for one in _STUCK if one in found), None)
    if stuck is not None:
        return Seen("True", "GrowFailing", f"{what} cannot grow to {desired}: {found[stuck]}")
    at = next((one for one in _GROWTH if one in found), None)
    return None if at is None else Seen("True", "Growing", f"{what} grows to {desired}: {_GROWTH[at]}")


def _unbound(snapshot: Snapshot) -> Seen | None:
    """Why the claim is no volume that engines and trainer can share, if it is none."""
    name = snapshot.resource.claim
    claim = snapshot.children.get(("v1", "PersistentVolumeClaim", name))
    if claim is None:
        if snapshot.spec.weights.claim_name is None:
            return Seen("Unknown", "ClaimNew", f"claim {name} is being created")
        return Seen("False", "ClaimMissing", f"there is no claim {name}: make it, or have weights.template make one")
    if claim["metadata"].get("deletionTimestamp"):
        message = (
            f"claim {name} is being deleted: it goes, with all drafts, as soon as no pod uses it; copy what you need"
        )
        return Seen("False", "ClaimDeleted", message)
    if "ReadWriteOncePod" in claim["spec"]["accessModes"]:
        return Seen("False", "ClaimExclusive", f"claim {name} is ReadWriteOncePod, but engines and trainer share it")
    phase = (claim.get("status") or {}).get("phase") or "Pending"
    made = snapshot.spec.weights.claim_name is None
    return None if phase == "Bound" else _pending(name, claim, phase, made=made)


def _replaced(snapshot: Snapshot) -> Seen | None:
    """Where the volume is another one than that of the stable version, or was emptied."""
    stable, versions = snapshot.status.stable, snapshot.versions
    if stable is None or versions is None:
        return None
    found = next((one for one in versions if one.version == stable.version), None)
    what = f"version {stable.version}, which is stable,"
    undo = "restore the volume, or delete and apply the resource to start from what is on it"
    if found is None:
        return Seen("False", "StableMissing", f"claim {snapshot.resource.claim} has no {what} any more: {undo}")
    if stable.digest and found.digest and stable.digest != found.digest:
        message = f"{what} on claim {snapshot.resource.claim} is not the one that was promoted: {undo}"
        return Seen("False", "VolumeReplaced", message)
    return None


def ready(snapshot: Snapshot) -> Seen:
    """The condition StorageReady."""
    return _unbound(snapshot) or _failing(snapshot) or _working(snapshot)


def _failing(snapshot: Snapshot) -> Seen | None:
    """What is wrong with a volume that is there."""
    name = snapshot.resource.claim
    failing = [f"{pod.name}: {pod.volume_problem}" for pod in snapshot.pods if pod.volume_problem]
    if failing:
        message = f"{failing[0]}; live drafts keep serving; no new version can be activated"
        return Seen("False", "VolumeFailing", message)
    replaced = _replaced(snapshot)
    if replaced is not None:
        return replaced
    if any(pod.volume and pod.volume.is_full for pod in snapshot.pods):
        left = f"less than {FULL:.0%} of claim {name} is free"
        return Seen("False", "VolumeFull", f"{left}: samples are dropped and training cannot save; expand the claim")
    return None


def _working(snapshot: Snapshot) -> Seen:
    """What there is to say of a volume that works."""
    name = snapshot.resource.claim
    if snapshot.damaged:
        what, why = min(snapshot.damaged.items())
        return Seen("True", "VersionDamaged", f"{what} on claim {name} cannot be used: {why}")
    grows = _growing(name, snapshot.children.get(("v1", "PersistentVolumeClaim", name)) or {})
    if grows is not None:
        return grows
    where = ", for pods of one node" if snapshot.resource.one_node else ""
    return Seen("True", "Bound", f"claim {name} is bound{where}")
