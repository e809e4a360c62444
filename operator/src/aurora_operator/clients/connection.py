"""The connection to the API server, and its errors as the project's own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
from urllib3.exceptions import HTTPError

from aurora_operator.errors import ClusterError

CONNECTIONS = 64
"""Kept open at most; beyond them each request would need a new handshake."""


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """The client's errors as the project's own.

    Args:
        what: what is tried, after "cannot".

    Raises:
        ClusterError: the API server refuses, or does not answer.
    """
    try:
        yield
    except ApiException as error:
        raise ClusterError(f"cannot {what}: {_message(error)}", int(error.status or 0)) from error
    except DynamicApiError as error:
        raise ClusterError(f"cannot {what}: {error}", int(error.status or 0)) from error
    except (HTTPError, OSError, ResourceNotFoundError) as error:
        raise ClusterError(f"cannot {what}: the API server does not answer: {error}") from error


def configured() -> client.Configuration:
    """How the API server is reached: inside the cluster never by a proxy, which the environment may name for others."""
    try:
        config.load_incluster_config()
    except config.ConfigException:
        config.load_kube_config()
        made = client.Configuration.get_default_copy()
    else:
        made = client.Configuration.get_default_copy()
        made.proxy = None
    made.connection_pool_maxsize = CONNECTIONS
    return made


def connect() -> DynamicClient:
    """A connection to the API server, which is asked what it serves.

    Raises:
        ClusterError: it refuses, or does not answer.
    """
    with translated("reach the cluster"):
        return DynamicClient(client.ApiClient(configured()))
