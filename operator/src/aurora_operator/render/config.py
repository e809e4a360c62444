"""What the processes read: their configuration, what is desired now, and the keys between them."""

from collections.abc import Collection
from typing import Any

import yaml
from aurora_core.config import DeploymentConfig
from aurora_core.config.online import OnlineConfig
from aurora_core.config.parts import SamplesConfig, ServingConfig, TargetConfig, WeightsConfig
from aurora_core.config.strata import StrataConfig, StratumConfig

from aurora_core import listening
from aurora_operator.api.models import draft_config
from aurora_operator.api.promotion import Strata
from aurora_operator.render.identity import Resource

AGENT_PORT = 30001
METRICS_PORT = 9100


def _strata(spec: Strata | None) -> StrataConfig | None:
    """How engines know a request's stratum; what may happen to it is the gate's alone."""
    if spec is None:
        return None
    named = tuple(StratumConfig(name=one.name, values=tuple(one.values)) for one in spec.named)
    return StrataConfig(by=spec.by, header=spec.header or "", salt=spec.salt or "", strata=named)


def deployment_config(resource: Resource) -> DeploymentConfig:
    """The configuration that engine, trainer and the init job share."""
    spec = resource.spec
    samples = spec.samples
    return DeploymentConfig(
        target=TargetConfig(
            model=spec.target.model,
            dtype=spec.target.dtype,
            revision=spec.target.revision,
            trust_remote_code=spec.target.trust_remote_code,
        ),
        draft=draft_config(spec.draft),
        serving=ServingConfig(
            host=listening.ALL,
            port=spec.serving.port,
            agent_port=AGENT_PORT,
            device=spec.serving.device,
            tensor_parallel_size=spec.serving.tensor_parallel_size,
            max_total_tokens=spec.serving.max_total_tokens,
            threads=spec.serving.threads,
            extra_args=tuple(spec.serving.extra_args),
            strata=_strata(spec.promotion.strata),
        ),
        training=spec.training.hyperparameters,
        samples=SamplesConfig.model_validate(
            {
                "transport": samples.transport.lower(),
                "sample_rate": samples.sample_rate,
                "dtype": samples.dtype,
                "max_tokens": samples.max_tokens,
                "max_sample_pool_size": samples.pool_size,
                "max_age_seconds": samples.max_age_seconds,
                "spool_bytes": samples.spool_bytes,
                "mooncake_protocol": samples.mooncake_protocol,
                "trainer_url": f"http://{resource.trainer}:18080",
                **({"mooncake_master": samples.mooncake_master} if samples.mooncake_master else {}),
                **({"mooncake_metadata": samples.mooncake_metadata} if samples.mooncake_metadata else {}),
            }
        ),
        weights=WeightsConfig(keep=spec.weights.keep),
    )


def _plain(resource: Resource, exclude: set[str]) -> dict[str, Any]:
    """The configuration as plain data; strata only where there are any, because older engines know none."""
    part = deployment_config(resource).model_dump(mode="json", by_alias=True, exclude=exclude)
    serving = part.get("serving", {})
    if serving.get("strata", ...) is None:
        del serving["strata"]
    return part


def engine_part(resource: Resource) -> dict[str, Any]:
    """What the engine reads of the configuration, as plain data."""
    return _plain(resource, {"training", "weights", "online"})


def trainer_part(resource: Resource) -> dict[str, Any]:
    """What the trainer reads of it."""
    return _plain(resource, {"serving", "online"})


def online_part(resource: Resource) -> dict[str, Any]:
    """What the driver of mode Online reads of it: all, and how many actors there are."""
    online = OnlineConfig(engines=resource.spec.serving.replicas)
    return {**_plain(resource, set()), "online": online.model_dump(mode="json", by_alias=True)}


def config_map(resource: Resource) -> dict[str, Any]:
    """Configuration of engine, trainer and init job, and of the driver of mode Online."""
    parts = {"engine.yaml": engine_part(resource), "trainer.yaml": trainer_part(resource)}
    if resource.online:
        parts["online.yaml"] = online_part(resource)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": resource.metadata(resource.config, "config"),
        "data": {name: yaml.safe_dump(part, sort_keys=True) for name, part in parts.items()},
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


def keys(resource: Resource, make: dict[str, str]) -> dict[str, Any]:
    """The Secret of the keys; made once."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": resource.metadata(resource.keys, "config"),
        "type": "Opaque",
        "stringData": make,
    }
