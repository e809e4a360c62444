"""A user's podTemplate: open, but for what the operator owns of a pod."""

from typing import Annotated, Any

from pydantic import Field

STRUCTURAL = "x-structural"
"""Key of a schema that is Kubernetes' own already, in a model's JSON schema."""
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _strings(text: str) -> dict[str, Any]:
    return {"type": "array", "description": text, "maxItems": 64, "items": {"type": "string", "maxLength": 4000}}


_CONTAINER = {
    **_OPEN,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "description": "Which container, or a new one.", "maxLength": 63},
        "command": _strings("Only of containers of your own."),
        "args": _strings("Only of containers of your own."),
    },
}
_CONTAINERS = {"type": "array", "description": "Merged by name.", "maxItems": 16, "items": _CONTAINER}
_RESTART = {"type": "string", "description": "The operator's matter: not to be set.", "maxLength": 16}
_POD_SPEC = {
    **_OPEN,
    "description": "As in a pod.",
    "properties": {"containers": _CONTAINERS, "restartPolicy": _RESTART},
}
_POD_RULES = [
    {
        "rule": "!has(self.spec) || !has(self.spec.containers) || self.spec.containers.all(c, "
        "!(c.name in ['engine', 'agent', 'trainer']) || !(has(c.command) || has(c.args)))",
        "message": "podTemplate sets command or args of a container that the operator owns (engine, agent, trainer): "
        "use serving.extraArgs, or add a container of your own",
    },
    {
        "rule": "!has(self.spec) || !has(self.spec.restartPolicy)",
        "message": "podTemplate sets restartPolicy, which the operator owns: remove it",
    },
]
_POD_TEMPLATE = {**_OPEN, "properties": {"spec": _POD_SPEC}, "x-kubernetes-validations": _POD_RULES}
PodTemplate = Annotated[dict[str, Any], Field(json_schema_extra={STRUCTURAL: _POD_TEMPLATE})]
