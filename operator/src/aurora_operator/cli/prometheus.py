"""A deployment's Prometheus, asked from where the command line runs: without the operator's credentials."""

from urllib.parse import quote, urlsplit

import httpx

from aurora_operator.api.promotion import PrometheusSpec
from aurora_operator.cli.kubectl import Answer, Failure, Kubectl
from aurora_operator.clients.prometheus import Credentials

_TIMEOUT = 30.0


def proxy_path(url: str) -> str | None:
    """The API server's own way to a Service, for a URL that only resolves in the cluster; None for any other.

    >>> proxy_path("http://prometheus.monitoring.svc:9090")
    '/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy'
    """
    parts = urlsplit(url)
    name, *rest = (parts.hostname or "").split(".")
    if len(rest) < 2 or rest[1] != "svc":  # noqa: PLR2004 (name.namespace.svc)
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    service = f"{parts.scheme}:{name}:{port}"
    return f"/api/v1/namespaces/{rest[0]}/services/{quote(service, safe=':')}/proxy{parts.path.rstrip('/')}"


def headers(spec: PrometheusSpec) -> dict[str, str]:
    """What a query that does not pass the API server sends along; Secrets stay in the cluster."""
    return Credentials(tenant=spec.tenant or "").headers


def needs(spec: PrometheusSpec) -> str:
    """What this Prometheus wants of whoever asks, that a query from here does not send; empty for nothing."""
    secret = spec.bearer_token_secret or spec.basic_auth_secret or spec.client_certificate_secret
    parts = ["credentials" if secret else "", "a tenant" if spec.tenant and proxy_path(spec.url) else ""]
    return " and ".join(filter(None, parts))


def queried(kubectl: Kubectl, spec: PrometheusSpec, below: str) -> Answer:
    """What is at a path below its base: through the API server where the URL is a Service's, else directly."""
    path = proxy_path(spec.url)
    if path is not None:
        return kubectl.attempt("get", "--raw", path + below)
    try:
        got = httpx.get(spec.url.rstrip("/") + below, headers=headers(spec), timeout=_TIMEOUT)
        return Answer(got.raise_for_status().text)
    except httpx.HTTPStatusError as error:
        refused = error.response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
        return Answer("", str(error), Failure.FORBIDDEN if refused else Failure.OTHER)
    except httpx.HTTPError as error:
        return Answer("", f"{spec.url}: {error}", Failure.UNREACHABLE)
