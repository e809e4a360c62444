"""A user's podTemplate into ours: as kubectl's strategic merge for lists with a key, and without its directives."""

from collections.abc import Mapping
from typing import Any

_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists whose items are merged by a key; any other replaces the one that is there (tolerations, args, command ...)."""


def merge(base: Any, patch: Any, key: str = "") -> Any:  # noqa: ANN401 (JSON)
    """``base`` with ``patch`` laid over it.

    None in a patch changes nothing, as to the API server, which drops it: it must not take away what protects a pod.
    """
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        merged = dict(base)
        for name, value in patch.items():
            if value is not None:
                merged[name] = merge(base[name], value, name) if name in base else value
        return merged
    by = _KEYS.get(key)
    if isinstance(base, list) and isinstance(patch, list) and by:
        # The first of several with one key is merged, the others stay, as ports of two protocols do. What Kubernetes
        # does not take twice, it refuses.
        first = {item[by]: item for item in reversed(patch)}
        mine = [merge(item, first[item[by]]) if item.get(by) in first else item for item in base]
        there = {item.get(by) for item in base}
        return [*mine, *(item for item in patch if item is not first[item[by]] or item[by] not in there)]
    return patch


_NO_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Of a container that a podTemplate adds, where it says nothing else: else a setuid program in its image makes root."""


def _without_rights(container: Mapping[str, Any]) -> dict[str, Any]:
    given = container.get("securityContext") or {}
    if given.get("privileged") or (given.get("capabilities") or {}).get("add"):
        # Allowed by an administrator; Kubernetes takes neither together with a ban on more.
        return dict(container)
    return {**container, "securityContext": {**_NO_RIGHTS, **given}}


def pod_template(base: dict[str, Any], patch: Mapping[str, Any] | None) -> dict[str, Any]:
    """Our pod template with the user's merged in.

    Labels that select our pods stay ours; containers of theirs get no rights that they do not name.
    """
    if not patch:
        return base
    merged: dict[str, Any] = merge(base, patch)
    for field in ("containers", "initContainers"):
        ours = {one["name"] for one in base["spec"].get(field, ())}
        if field in merged["spec"]:
            merged["spec"][field] = [
                one if one["name"] in ours else _without_rights(one) for one in merged["spec"][field]
            ]
    metadata = merged.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **base["metadata"]["labels"]}
    return merged
