"""The CustomResourceDefinition, generated from the models: pydantic's JSON schema made structural."""

from typing import Any

from aurora_core.config.effect import EFFECT, Effect
from pydantic import BaseModel

from aurora_operator.api import GROUP, KIND, PLURAL, VERSION
from aurora_operator.api.pod_template import STRUCTURAL
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status

_KEPT = (
    "type", "description", "enum", "default", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum",
    "maximum", "multipleOf", "format", "required", "x-kubernetes-validations", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)  # fmt: skip


def _columns() -> list[dict[str, Any]]:
    def column(name: str, kind: str, path: str, priority: int = 0) -> dict[str, Any]:
        # The API server stores no priority of 0: with one, Argo CD finds a difference from git for ever.
        return {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})

    return [
        column("Mode", "string", ".spec.mode"),
        column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        column("Stable", "integer", ".status.stable.version"),
        column("Candidate", "integer", ".status.candidate.version"),
        column("AcceptLen", "number", ".status.stable.acceptLength"),
        column("Steps", "integer", ".status.stable.steps", 1),
        column("Verdict", "string", ".status.candidate.verdict", 1),
        column("Trained", "integer", ".status.training.step", 1),
        column("Model", "string", ".spec.target.model", 1),
        column("Age", "date", ".metadata.creationTimestamp"),
    ]


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Put a reference's definition in its place; what stands beside the reference wins."""
    name = schema["$ref"].rsplit("/", 1)[1]
    return {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}


def structural(
    schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...] = (), effect: str = ""
) -> dict[str, Any]:
    """A pydantic schema as Kubernetes wants it: no references, no unions, no open ends.

    Args:
        schema: of a model or field.
        definitions: that it refers to.
        path: of the field.
        effect: of a change of what it is in, where that is declared.
    """
    effect = schema.get(EFFECT, effect)
    if STRUCTURAL in schema:
        described = {"type": "object", "description": _described(schema["description"], effect)}
        return {**described, **schema[STRUCTURAL]}
    if "$ref" in schema:
        schema = _resolve(schema, definitions)
    if "anyOf" in schema:
        # Only "this or nothing" occurs; an absent field says nothing already.
        inner = [option for option in schema["anyOf"] if option.get("type") != "null"]
        rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
        return structural({**inner[0], **rest}, definitions, path, effect)
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
    out = {key: schema[key] for key in _KEPT if key in schema and schema.get(key) is not None}
    if "description" in out:
        out["description"] = _described(out["description"], "" if "properties" in schema else effect)
    if refused := _refused(schema, path):
        out["x-kubernetes-validations"] = [*out.get("x-kubernetes-validations", ()), refused]
    return out | _bounds(schema) | _parts(schema, definitions, path, effect)


def _described(text: str, effect: str) -> str:
    """A field's description, with what a change of it does."""
    return " ".join(f"{text} {effect}".split())


def _refused(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, str] | None:
    """The CEL rule that keeps an object's fields as they are, where a change of them is refused."""
    fields = {name: part for name, part in schema.get("properties", {}).items() if part.get(EFFECT) == Effect.REFUSED}
    if not fields:
        return None
    always = {
        name for name, part in fields.items() if name in schema.get("required", ()) or part.get("default") is not None
    }

    def same(name: str) -> str:
        new, old = f"self.{name}", f"oldSelf.{name}"
        return f"{new} == {old}" if name in always else f"has({new}) == has({old}) && (!has({new}) || {new} == {old})"

    names = ", ".join(".".join((*path, name)) if at == 0 else name for at, name in enumerate(fields))
    return {"rule": " && ".join(map(same, fields)), "message": f"{names} cannot change: make another resource"}


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Exclusive bounds, which Kubernetes says with a flag."""
    pairs = [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")]
    given = [(flag, limit) for flag, limit in pairs if flag in schema]
    return {limit: schema[flag] for flag, limit in given} | {flag: True for flag, _ in given}


def _declared(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """A default without what it leaves open."""
    if isinstance(value, dict):
        return {name: _declared(part) for name, part in value.items() if part is not None}
    return value


def _parts(schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...], effect: str) -> dict[str, Any]:
    """What is inside an object or a list."""
    if "properties" in schema:
        parts = {
            name: structural(part, definitions, (*path, name), effect) for name, part in schema["properties"].items()
        }
        return {"properties": parts, **({"default": _declared(schema["default"])} if "default" in schema else {})}
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        inner = structural(schema["additionalProperties"], definitions, path)
        least = {"minProperties": schema["minProperties"]} if "minProperties" in schema else {}
        return {"additionalProperties": inner, **least, "maxProperties": schema.get("maxProperties", 64)}
    if schema.get("type") == "array":
        items = schema["prefixItems"][0] if "prefixItems" in schema else schema["items"]
        return {"items": structural(items, definitions, path), "maxItems": schema.get("maxItems", 64)}
    return {}


def _of(model: type[BaseModel], mode: str) -> dict[str, Any]:
    raw = model.model_json_schema(mode="validation" if mode == "spec" else "serialization", by_alias=True)
    out = structural(raw, raw.get("$defs", {}))
    if mode == "status":
        _drop_required(out)
    return out


def _drop_required(schema: dict[str, Any]) -> None:
    """A status is written by the operator alone; an older one must stay valid."""
    schema.pop("required", None)
    schema.pop("default", None)
    for part in schema.get("properties", {}).values():
        _drop_required(part)
    if "items" in schema:
        keys = schema.get("x-kubernetes-list-map-keys")
        _drop_required(schema["items"])
        if keys:
            schema["items"]["required"] = keys


def spec_schema() -> dict[str, Any]:
    """The structural schema of a spec."""
    return _of(Spec, "spec")


def status_schema() -> dict[str, Any]:
    """The structural schema of a status."""
    return _of(Status, "status")


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    schema = {
        "type": "object",
        "description": "Serves a model with a draft that is kept fresh from what serving computes anyway.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                # Names of pods, services and labels are made of it.
                "properties": {"name": {"type": "string", "maxLength": 40, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}},
            },
            "spec": spec_schema(),
            "status": status_schema(),
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["specdep"],
                "categories": ["all", "aurora"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": _columns(),
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.serving.replicas",
                            "statusReplicasPath": ".status.serving.ready",
                            "labelSelectorPath": ".status.serving.selector",
                        },
                    },
                }
            ],
        },
    }
