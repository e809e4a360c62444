"""By which name a container asks for its GPUs."""

from collections.abc import Iterator

from aurora_operator.api.spec import ServingSpec, TrainingSpec

DEFAULT = "nvidia.com/gpu"
NONE = "none"
"""Value of gpuResource where podTemplate asks for them."""


def _named(part: ServingSpec | TrainingSpec, container: str) -> Iterator[str]:
    """Resources that a user's limits name for a container."""
    yield from part.resources.limits
    for one in ((part.pod_template or {}).get("spec") or {}).get("containers") or ():
        if one.get("name") == container:
            yield from (one.get("resources") or {}).get("limits") or ()


def names(part: ServingSpec | TrainingSpec, container: str) -> list[str]:
    """The extended resources by which a container gets its GPUs; empty where it gets them otherwise, or needs none."""
    if part.device != "cuda" or part.gpu_resource == NONE:
        return []
    if part.gpu_resource is not None:
        return [part.gpu_resource]
    others = [name for name in _named(part, container) if "/gpu" in name or "/mig-" in name]
    return sorted(set(others)) or [DEFAULT]


def limits(part: ServingSpec | TrainingSpec, container: str, count: int) -> dict[str, str]:
    """What is added to a container's limits for so many GPUs; a user's own number of another resource stays."""
    asked = part.gpu_resource or DEFAULT
    return {asked: str(count)} if asked in names(part, container) else {}
