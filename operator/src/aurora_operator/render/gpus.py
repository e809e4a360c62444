"""By which name a container asks for its GPUs."""

from collections.abc import Iterator, Mapping

from aurora_operator.api.spec import ServingSpec, TrainingSpec

DEFAULT = "nvidia.com/gpu"
NONE = "none"
"""Value of gpuResource where podTemplate asks for them."""


def _named(part: ServingSpec | TrainingSpec, container: str) -> Iterator[Mapping[str, str]]:
    """What a user's limits name for a container; the last one wins."""
    yield part.resources.limits
    for one in ((part.pod_template or {}).get("spec") or {}).get("containers") or ():
        if one.get("name") == container:
            yield (one.get("resources") or {}).get("limits") or {}


def names(part: ServingSpec | TrainingSpec, container: str) -> list[str]:
    """The extended resources by which a container gets its GPUs; empty where it gets them otherwise, or needs none."""
    if part.device != "cuda" or part.gpu_resource == NONE:
        return []
    if part.gpu_resource is not None:
        return [part.gpu_resource]
    given = (name for limits in _named(part, container) for name in limits)
    others = [name for name in given if "/gpu" in name or "/mig-" in name]
    return sorted(set(others)) or [DEFAULT]


def limits(part: ServingSpec | TrainingSpec, container: str, count: int) -> dict[str, str]:
    """What is added to a container's limits for so many GPUs; a user's own number of another resource stays."""
    asked = part.gpu_resource or DEFAULT
    return {asked: str(count)} if asked in names(part, container) else {}


def asked(part: ServingSpec | TrainingSpec, container: str, count: int) -> dict[str, str]:
    """All GPUs that a container asks for in the end, a user's own number of them included."""
    mine = {name: str(number) for limits in _named(part, container) for name, number in limits.items()}
    return {name: mine.get(name, str(count)) for name in names(part, container)}
