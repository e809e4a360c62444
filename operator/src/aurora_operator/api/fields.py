"""What several parts of the spec are made of."""

from typing import Annotated, Any

from aurora_core.config.base import Config
from pydantic import ConfigDict, Field

_DNS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)]


def rules(*rules: tuple[str, str]) -> ConfigDict:
    """CEL rules of a model: (expression, message)."""
    validations: list[Any] = [{"rule": rule, "message": message} for rule, message in rules]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": validations})


GpuResource = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^(none|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
        r"/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$",
    ),
]
"""Name of an extended resource, or none."""


def gpu_rules(part: str) -> tuple[tuple[str, str], ...]:
    """CEL rules of a part of the spec with a device, resources and gpuResource."""
    same = "self.resources.limits.all(k, k == self.gpuResource || !(k.contains('/gpu') || k.contains('/mig-')))"
    return (
        (
            "!has(self.gpuResource) || !self.gpuResource.split('/')[0].endsWith('kubernetes.io')",
            f"{part}.gpuResource has a name that Kubernetes keeps for itself: name what the device plugin offers",
        ),
        (
            f"!has(self.gpuResource) || self.gpuResource == 'none' || !has(self.resources.limits) || {same}",
            f"{part}.resources.limits names another GPU resource than {part}.gpuResource: remove one of them",
        ),
    )


class SecretKey(Config):
    """A key of a Secret in the resource's namespace."""

    name: Name
    """Name of the Secret."""
    key: str = Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")
    """Key in it."""
