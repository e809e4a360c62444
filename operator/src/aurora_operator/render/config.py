"""What the processes read: their configuration, what is desired now, and the credentials between them."""

import functools
import json
from collections.abc import Collection, Mapping
from typing import Any, Literal

import yaml
from aurora_core.config import DeploymentConfig
from aurora_core.config.base import Config
from aurora_core.config.effect import Effect, without
from aurora_core.config.online import OnlineConfig
from aurora_core.config.parts import DraftConfig, Samples, SamplesConfig, Serving, TargetConfig, WeightsConfig
from aurora_core.config.strata import StrataConfig
from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

from aurora_core import listening
from aurora_operator.render.identity import Resource
from aurora_operator.render.pods import digest

AGENT_PORT = 30001
METRICS_PORT = 9100


def _shared(kind: type[Config], block: Config) -> dict[str, Any]:
    """What of a part of the spec the model declares that it builds on; what is left open there is the processes'."""
    fields: dict[str, Any] = TypeAdapter(kind).dump_python(block, exclude_none=True)
    return fields


def deployment_config(resource: Resource) -> DeploymentConfig:
    """The configuration that engine, trainer and the init job share."""
    spec = resource.spec
    serving = {"host": listening.ALL, "agent_port": AGENT_PORT, **_shared(Serving, spec.serving)}
    if spec.promotion.strata is not None:
        # What may happen to a stratum is the gate's alone.
        serving["strata"] = _shared(StrataConfig, spec.promotion.strata)
    return DeploymentConfig.model_validate(
        {
            "target": _shared(TargetConfig, spec.target),
            "draft": _shared(DraftConfig, spec.draft),
            "serving": serving,
            "training": spec.training.hyperparameters,
            "samples": {"trainer_url": f"http://{resource.trainer}:18080", **_shared(Samples, spec.samples)},
            "weights": _shared(WeightsConfig, spec.weights),
        }
    )


_OTHERS = {
    "engine": {"training": True, "weights": True, "online": True},
    "trainer": {"serving": True, "online": True},
}
"""Blocks that a process does not read."""
_RESTARTS = {
    "engine": {Effect.ENGINES, Effect.BOTH, Effect.REFUSED},
    "trainer": {Effect.TRAINER, Effect.BOTH, Effect.REFUSED},
}
"""Effects of the fields that a process is started with."""


_BUFFER, _REPLICAS, _PIN = "mooncake_buffer_bytes", "mooncake_replicas", "mooncake_soft_pin"
_LATER: Mapping[tuple[str, ...], object] = {
    ("serving", "strata", "named", "*", "capture"): True,
    ("serving", "strata"): None,
    ("training", "lr"): None,
    **{("samples", to_camel(name)): SamplesConfig.model_fields[name].default for name in (_BUFFER, _REPLICAS, _PIN)},
}
"""Fields that images of earlier releases do not know, or not with this value; it says what they do without one, but for
the learning rate, where they have a default of their own. A star is each of a list."""


def _leave_out(part: Any, path: tuple[str, ...], value: object) -> None:  # noqa: ANN401 (plain data)
    """Take a field out of plain data where it has this value."""
    name, *rest = path
    if name == "*":
        for one in part:
            _leave_out(one, tuple(rest), value)
    elif rest and part.get(name) is not None:
        _leave_out(part[name], tuple(rest), value)
    elif not rest and name in part and part[name] == value:
        del part[name]


def _plain(resource: Resource, exclude: dict[str, Any]) -> dict[str, Any]:
    """The configuration as plain data; what older images do not know only where it is not as with them."""
    part = deployment_config(resource).model_dump(mode="json", by_alias=True, exclude=exclude)
    for path, value in _LATER.items():
        _leave_out(part, path, value)
    return part


def engine_part(resource: Resource) -> dict[str, Any]:
    """What the engine reads of the configuration, as plain data."""
    return _plain(resource, _OTHERS["engine"])


def trainer_part(resource: Resource) -> dict[str, Any]:
    """What the trainer reads of it."""
    return _plain(resource, _OTHERS["trainer"])


def configured(resource: Resource, process: Literal["engine", "trainer"]) -> str:
    """A hash of what a process of this kind restarts for, as the fields declare it."""
    return digest(_plain(resource, {**without(_RESTARTS[process], DeploymentConfig), **_OTHERS[process]}))


def online_part(resource: Resource) -> dict[str, Any]:
    """What the driver of mode Online reads of it: all, and how many actors there are."""
    online = OnlineConfig(engines=resource.spec.serving.replicas, trainers=resource.spec.training.ranks)
    return {**_plain(resource, {}), "online": online.model_dump(mode="json", by_alias=True)}


@functools.lru_cache(maxsize=4096)
def _yaml(part: str) -> str:
    """JSON as YAML. Each reconcile renders the same again, and writing YAML would be half of its work."""
    return yaml.safe_dump(json.loads(part), sort_keys=True)


def config_map(resource: Resource) -> dict[str, Any]:
    """Configuration of engine, trainer and init job, and of the driver of mode Online."""
    parts = {"engine.yaml": engine_part(resource), "trainer.yaml": trainer_part(resource)}
    if resource.online:
        parts["online.yaml"] = online_part(resource)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": resource.metadata(resource.config, "config"),
        "data": {name: _yaml(json.dumps(part, sort_keys=True)) for name, part in parts.items()},
    }


def desired_map(
    resource: Resource, version: int, steps: int, digest: str, in_use: Collection[int] | None
) -> dict[str, Any]:
    """What a starting engine serves, and what the trainer must not prune (None: anything); never read back."""
    kept = "all" if in_use is None else ",".join(map(str, sorted(in_use)))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": resource.metadata(resource.desired, "config"),
        "data": {"version": str(version), "steps": str(steps), "digest": digest, "in-use": kept},
    }


def secret(resource: Resource, make: dict[str, str]) -> dict[str, Any]:
    """The Secret of the credentials; made once."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": resource.metadata(resource.secret, "config"),
        "type": "Opaque",
        "stringData": make,
    }
