"""Which pods an operator of this version would restart: what it renders, beside what runs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity
from pydantic import ValidationError

from aurora_operator.cli.kubectl import Answer, Found, Kubectl
from aurora_operator.reconcile.drift import HASH, owned
from aurora_operator.render import credentials, ray, serving, training
from aurora_operator.render.identity import NOBODY, Images, PodUser, Resource
from aurora_operator.render.pods import digest

_IDENTIFIES = ("mountPath", "containerPort", "topologyKey", "ip", "name")
"""Fields by which items of a list are the same item."""


def _equal(left: object, right: object) -> bool:
    """Whether two values are one, however a quantity is spelled."""
    if left == right or str(left) == str(right):
        return True
    try:
        return bool(parse_quantity(left) == parse_quantity(right))  # type: ignore[no-untyped-call]
    except ValueError:
        return False


def _found(item: Any, items: list[Any]) -> tuple[str, Any]:  # noqa: ANN401 (JSON)
    """The name of an item of a list, and its counterpart."""
    name = next((one for one in _IDENTIFIES if isinstance(item, Mapping) and one in item), "")
    other = next((one for one in items if isinstance(one, Mapping) and name and one.get(name) == item[name]), None)
    return str(item[name]) if name else "", other


def differences(rendered: Any, live: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Paths of what is rendered and not there, or there with another value; what others added is none."""
    if isinstance(rendered, Mapping) and isinstance(live, Mapping):
        for name, value in rendered.items():
            step = f"[{name}]" if "/" in name else f".{name}"
            if name in live:
                yield from differences(value, live[name], at + step)
            elif value not in ("", 0, False, None, {}, []):
                # The API server leaves out what is empty.
                yield at + step
    elif isinstance(rendered, list) and isinstance(live, list) and all(_found(one, [])[0] for one in rendered):
        for item in rendered:
            name, other = _found(item, live)
            if other is None:
                yield f"{at}[{name}]"
            else:
                yield from differences(item, other, f"{at}[{name}]")
    elif not _equal(rendered, live):
        yield at


def surplus(fields: Mapping[str, Any], rendered: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Paths of what the operator has applied and no longer renders.

    Args:
        fields: managed fields, as the API server keeps them.
        rendered: what is rendered there.
        at: the path.
    """
    for step, below in fields.items():
        if step.startswith("f:"):
            name = step[2:]
            path = at + (f"[{name}]" if "/" in name else f".{name}")
            if not isinstance(rendered, Mapping) or name not in rendered:
                yield path
            else:
                yield from surplus(below, rendered[name], path)
        elif step.startswith("k:") and isinstance(rendered, list):
            keys = {name: value for name, value in json.loads(step[2:]).items() if name != "protocol"}
            path = f"{at}[{'/'.join(map(str, keys.values()))}]"
            item = next((one for one in rendered if keys.items() <= one.items()), None)
            if item is None:
                yield path
            else:
                yield from surplus(below, item, path)


def changes(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """What would be changed of the pods of an object, by path; empty where its pods stay as they are.

    Args:
        rendered: the object, as this version makes it.
        live: the object, as the API server has it.
    """
    template = rendered["spec"]["template"]
    known = (live["metadata"].get("annotations") or {}).get(HASH)
    if known in {digest(rendered), digest(template)}:
        return []
    fields = owned(live).get("f:spec", {}).get("f:template", {})
    found = [*differences(template, live["spec"]["template"]), *surplus(fields, template)]
    return sorted({path.removeprefix(".") for path in found})


def _groups(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of a RayCluster another cluster would take the place of, by the name of its group."""
    return {str(group.get("groupName", ray.HEAD)): group for group in ray.settled(body)}


def changes_of_ray(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """What would be changed of a RayCluster's pods, by path; empty where the cluster stays.

    Args:
        rendered: the RayCluster, as this version makes it.
        live: the RayCluster, as the API server has it.
    """
    if (live["metadata"].get("annotations") or {}).get(HASH) == digest(ray.settled(rendered)):
        return []
    there = _groups(live)
    return sorted(
        path for name, group in _groups(rendered).items() for path in differences(group, there.get(name), name)
    )


def running_images(operators: Answer) -> Images | None:
    """The images and users that the running operator gives to pods; None where there is none that says so.

    Args:
        operators: Deployments of operators, as JSON.
    """
    if operators.failure is not None:
        return None
    for body in json.loads(operators.out or "{}").get("items") or ():
        for container in body["spec"]["template"]["spec"]["containers"]:
            env = {one["name"]: one.get("value") or "" for one in container.get("env") or ()}
            named = {name: env.get(f"AURORA_OPERATOR_{name}", "") for name in ("ENGINE_IMAGE", "TRAINER_IMAGE")}
            if all(named.values()):
                policy = env.get("AURORA_OPERATOR_IMAGE_PULL_POLICY") or "IfNotPresent"
                pulls = tuple(filter(None, env.get("AURORA_OPERATOR_PULL_SECRETS", "").split(",")))
                try:
                    user = PodUser.model_validate_json(env.get("AURORA_OPERATOR_POD_USER") or NOBODY.model_dump_json())
                except ValidationError:
                    user = NOBODY
                return Images(named["ENGINE_IMAGE"], named["TRAINER_IMAGE"], policy, pulls, user)
    return None


def restarts(kubectl: Kubectl, found: Found, images: Images) -> dict[str, list[str]]:
    """What would be changed of engine and trainer pods, by the name of what makes them; only of what is there.

    Args:
        kubectl: for the resource's namespace.
        found: the resource.
        images: where its spec names none.
    """
    claim = kubectl.attempt("get", "pvc", found.spec.weights.claim_name or f"{found.name}-weights", "-o", "json")
    modes = json.loads(claim.out)["spec"]["accessModes"] if claim.failure is None else ["ReadWriteMany"]
    resource = Resource(
        found.name, found.namespace, found.body["metadata"]["uid"], found.spec, one_node="ReadWriteMany" not in modes
    )
    out = {}
    if resource.online:
        answer = kubectl.attempt("get", "raycluster", resource.ray, "-o", "json")
        if answer.failure is None:
            live = json.loads(answer.out)
            stamp = credentials.started_with(live)
            out[resource.ray] = changes_of_ray(ray.cluster(resource, images, stamp), live)
        return out
    for kind, name, render in (
        ("deployment", resource.engine, serving.deployment),
        ("job", resource.trainer, training.trainer_job),
    ):
        answer = kubectl.attempt("get", kind, name, "-o", "json", "--show-managed-fields")
        if answer.failure is None:
            live = json.loads(answer.out)
            out[name] = changes(render(resource, images, credentials.started_with(live)), live)
    return out
