"""The operator's own settings, from its environment."""

import json
import os
from typing import Self

from aurora_core.config.base import Config
from pydantic import Field, ValidationError, field_validator, model_validator

from aurora_operator.errors import OperatorError
from aurora_operator.render.identity import NOBODY, Images, PodUser
from aurora_operator.render.network import NetworkPeers

_PREFIX = "AURORA_OPERATOR_"


class Settings(Config):
    """Each is read from AURORA_OPERATOR_ and its name in capitals."""

    engine_image: str = Field(min_length=1)
    """Engine image where a resource names none."""
    trainer_image: str = Field(min_length=1)
    """Trainer image where a resource names none."""
    image_pull_policy: str = Field("IfNotPresent", pattern=r"^(Always|IfNotPresent|Never)$")
    """Pull policy of both."""
    pull_secrets: tuple[str, ...] = ()
    """Secrets of a resource's namespace with which its pods fetch images, with commas in the environment."""
    pod_user: PodUser = NOBODY
    """As whom the pods of deployments run, as JSON in the environment; what it leaves out the cluster assigns."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to watch, with commas between them in the environment; all where empty."""
    lease: str = ""
    """Name of the Lease that the acting operator has; none is used where empty."""
    lease_namespace: str = ""
    """Its namespace."""
    health_port: int = Field(8080, ge=1, le=65535)
    """Port of the liveness endpoint."""
    pod_address: str = ""
    """Address of the operator's own pod, of the family by which it is probed; IPv4 where empty."""
    prometheus_hosts: str = ""
    """Servers that any Secret which a resource names may be used for, separated by commas."""
    metrics_port: int = Field(9100, ge=1, le=65535)
    """Port of the operator's metrics."""
    network: NetworkPeers | None = None
    """Who may reach the pods of deployments, as JSON in the environment; empty: no NetworkPolicy is made for them."""

    @field_validator("watch_namespaces", "pull_secrets", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        return tuple(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given

    @field_validator("network", "pod_user", mode="before")
    @classmethod
    def _parsed(cls, given: object) -> object:
        try:
            return (json.loads(given) if given.strip() else None) if isinstance(given, str) else given
        except ValueError:
            raise ValueError("must be JSON") from None

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.lease and not self.lease_namespace:
            raise ValueError("AURORA_OPERATOR_LEASE needs AURORA_OPERATOR_LEASE_NAMESPACE")
        return self

    @property
    def instance(self) -> str:
        """Which installation this is, the same for all of its replicas; empty without a Lease."""
        return f"{self.lease_namespace}/{self.lease}" if self.lease else ""

    @classmethod
    def from_environment(cls) -> Self:
        """The settings.

        Raises:
            OperatorError: one is missing or makes no sense; says which.
        """
        given = {n: os.environ[_PREFIX + n.upper()] for n in cls.model_fields if _PREFIX + n.upper() in os.environ}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = "; ".join(
                f"{_PREFIX}{'_'.join(map(str, e['loc'][:1])).upper()}: {e['msg']}" for e in error.errors()
            )
            raise OperatorError(f"the operator's environment is not complete: {lines}") from error

    @property
    def liveness_endpoint(self) -> str:
        """Where kopf answers probes: at all addresses of the family that the kubelet knows the pod by."""
        host = "[::]" if ":" in self.pod_address else "0.0.0.0"  # noqa: S104 (probes come from the node)
        return f"http://{host}:{self.health_port}/healthz"

    @property
    def images(self) -> Images:
        """Images for what a resource leaves open."""
        return Images(self.engine_image, self.trainer_image, self.image_pull_policy, self.pull_secrets, self.pod_user)

    @property
    def trusted_hosts(self) -> frozenset[str]:
        """The servers that the administrator named."""
        return frozenset(filter(None, map(str.strip, self.prometheus_hosts.lower().split(","))))
