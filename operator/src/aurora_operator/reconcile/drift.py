"""Whether an object still is what was applied: by who has which field, never by comparing values.

Values cannot be compared: the API server writes ``1024Mi`` as ``1Gi``, leaves out what is empty and fills in defaults,
and admission webhooks change what they like. But it keeps, for each manager, the fields that this manager applied, and
takes a field away from a manager when another one gives it another value or removes it. So nothing is to be done while
the object has the hash of what is rendered now, and every field of that is still the operator's.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from aurora_operator.render.identity import MANAGER
from aurora_operator.render.ray import KIND
from aurora_operator.render.training import QUEUE

HASH = "aurora-operator.io/rendered"
"""Annotation with a hash of what was rendered, of a Job's pod template alone: another one means another Job."""
APPLIED = "aurora-operator.io/applied"
"""Annotation of a Job with a hash of all that was rendered: a field that we no longer name is only seen by it."""

Path = tuple[str, ...]
"""Steps as in managed fields: ``f:NAME`` of a field, ``k:{KEYS}`` of an item of a list, ``v:VALUE`` of one of a set."""

_DEFAULT_KEYS: Mapping[str, Any] = {"protocol": "TCP"}
"""Keys of an item that may be left out."""
_UNTRACKED = {"apiVersion", "kind", "metadata.name", "metadata.namespace"}
"""What identifies an object belongs to no manager."""


def owned(live: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that the operator applied and nobody changed since, as the API server keeps them."""
    fields: dict[str, Any] = {}
    for entry in live["metadata"].get("managedFields") or ():
        if _is_ours(entry):
            # More than one entry only where the object was applied in several API versions.
            fields |= entry.get("fieldsV1") or {}
    return fields


def _is_ours(entry: Mapping[str, Any]) -> bool:
    mine = (entry.get("manager"), entry.get("operation")) == (MANAGER, "Apply")
    return mine and not entry.get("subresource")


@functools.lru_cache(maxsize=4096)
def _keys(step: str) -> Mapping[str, Any]:
    """The keys of a list's item in its step; few, and the same in many objects."""
    keys: dict[str, Any] = json.loads(step[2:])
    return keys


def _item(item: Any, fields: Mapping[str, Any]) -> str:  # noqa: ANN401 (JSON)
    """The step of a list's item, empty where it is not there."""
    if not isinstance(item, Mapping):
        step = f"v:{json.dumps(item, separators=(',', ':'))}"
        return step if step in fields else ""
    complete = {**_DEFAULT_KEYS, **item}
    steps = (step for step in fields if step.startswith("k:"))
    return next((step for step in steps if all(complete.get(k) == value for k, value in _keys(step).items())), "")


def lacking(desired: Any, fields: Mapping[str, Any], at: Path = ()) -> Iterator[Path]:  # noqa: ANN401 (JSON)
    """Fields of ``desired`` that are not among these managed fields; of a list's lost item the list.

    Args:
        desired: what is applied, as JSON.
        fields: managed fields below the path, in the API server's form (``fieldsV1``).
        at: the path.
    """
    if not fields:
        # A leaf, or one that is applied as one value.
        return
    if isinstance(desired, Mapping):
        for name, value in desired.items():
            step = f"f:{name}"
            if value is None or value in ({}, []) or ".".join((*(s[2:] for s in at), name)) in _UNTRACKED:
                continue
            if step not in fields:
                yield (*at, step)
            else:
                yield from lacking(value, fields[step], (*at, step))
    elif isinstance(desired, list):
        for item in desired:
            step = _item(item, fields)
            if not step:
                yield at
            else:
                yield from lacking(item, fields[step], (*at, step))


def rendered(body: Mapping[str, Any]) -> tuple[str, str]:
    """The hashes of what an object was rendered as; empty ones where it has none."""
    annotations = body["metadata"].get("annotations") or {}
    return annotations.get(HASH, ""), annotations.get(APPLIED, "")


def lost(desired: Mapping[str, Any], live: Mapping[str, Any]) -> list[Path]:
    """The fields of ``desired`` that the operator no longer has in ``live``."""
    fields = owned(live)
    if desired["kind"] == "Job":
        # Its template changes only while it is suspended, by the queue that has it: where its pods may run.
        desired = {**desired, "spec": {name: part for name, part in desired["spec"].items() if name != "template"}}
    elif desired["kind"] == KIND and QUEUE in desired["metadata"].get("labels", {}):
        # The queue says where pods of the groups run; a list of groups is one field.
        desired = {**desired, "spec": {}}
    return list(lacking(desired, fields)) if fields else [("f:metadata", "f:managedFields")]


def holders(live: Mapping[str, Any], path: Path) -> list[str]:
    """The other managers that have a field, sorted."""
    found = set()
    for entry in live["metadata"].get("managedFields") or ():
        fields: Any = entry.get("fieldsV1") or {}
        for step in path:
            fields = fields.get(step) if isinstance(fields, Mapping) else None
        if fields is not None and not _is_ours(entry):
            found.add(str(entry.get("manager") or "unknown"))
    return sorted(found)


def readable(path: Path) -> str:
    """A path for people, such as ``spec.template.spec.containers[engine].image``."""
    text = ""
    for step in path:
        if step.startswith("k:"):
            text += "[" + "/".join(map(str, json.loads(step[2:]).values())) + "]"
        else:
            name = step[2:]
            text += f"[{name}]" if "/" in name or step.startswith("v:") else f".{name}"
    return text.removeprefix(".")
