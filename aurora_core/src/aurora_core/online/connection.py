"""The Ray cluster of mode Online: started here, or joined."""

import logging
import os
import secrets
from typing import Any

import ray
from ray.exceptions import RayError

from aurora_core.config.online import OnlineConfig
from aurora_core.errors import ConfigError, EngineError
from aurora_core.online import LOOPBACK

NAMESPACE = "aurora"
"""Ray's namespace of the actors' names."""


def start_ray(online: OnlineConfig, cpus: int, gpus: int) -> None:
    """Start a cluster of this machine alone: on the loopback, behind a token of its own, without telemetry.

    Raises:
        EngineError: nobody called :func:`aurora_core.online.on_loopback` before Ray was imported.
    """
    if os.environ.get(LOOPBACK) != "0":
        raise EngineError("Ray would listen on the network: call aurora_core.online.on_loopback before it is imported")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Its workers would be at a lower priority than everything else of the machine, users' requests with them.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (Ray's spelling)
    # Ray protects a cluster by the token that it finds, and would otherwise leave one in the home folder.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    _join(
        # Not one that was started here before, which Ray would join, or refuse for the numbers below.
        address="local",
        num_cpus=cpus,
        num_gpus=gpus,
        include_dashboard=online.dashboard,
        dashboard_host="127.0.0.1",
        **({"_temp_dir": str(online.temp)} if online.temp else {}),
    )


def join_ray(address: str) -> None:
    """Join a cluster that is there.

    Raises:
        ConfigError: there is none.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        _join(address=address)
    except (ConnectionError, RayError, RuntimeError) as error:
        raise ConfigError(f"there is no Ray cluster at {address}: {error}") from error


def _join(**arguments: Any) -> None:
    ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING, **arguments)
