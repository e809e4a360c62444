"""The Secrets that a resource names: what they hold, where their owners allow it, and what is wrong."""

from typing import NamedTuple

from aurora_core.credentials import clean
from aurora_core.errors import ConfigError
from aurora_core.weights.signing import Signing

from aurora_operator.api.fields import SecretKey
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.secrets import check_consent
from aurora_operator.errors import SecretValueError
from aurora_operator.reconcile.snapshot import decoded
from aurora_operator.render.credentials import ACCEPTED, SIGNING
from aurora_operator.render.identity import Resource
from aurora_operator.render.training import is_chosen

HUB = "https://huggingface.co"


class Credentials(NamedTuple):
    """The user's own: see :class:`Snapshot`."""

    api_key: str = ""
    signing: tuple[str, ...] = ()
    problem: str = ""
    unusable: frozenset[str] = frozenset()


def _named(cluster: Cluster, resource: Resource, field: str, at: SecretKey, url: str) -> tuple[str, str, bool]:
    """A value that the spec names, what is wrong with it, and whether it may not be used at all."""
    name = f"key {at.key} of Secret {resource.namespace}/{at.name} ({field})"
    secret = cluster.get("v1", "Secret", resource.namespace, at.name)
    if secret is None or at.key not in (secret.get("data") or {}):
        return "", f"{name} does not exist: create it", False
    try:
        check_consent(secret, at.name, url)
        return clean(decoded(secret, at.key), name), "", False
    except SecretValueError as error:
        return "", f"{field}: {error}", True
    except ConfigError as error:
        return "", str(error), False


def _signing(cluster: Cluster, resource: Resource, host: str) -> tuple[tuple[str, ...], str]:
    """The keys that sign versions, and what is wrong with them."""
    spec, field = resource.spec.weights.signing, "weights.signing"
    if spec is None:
        return (), ""
    secret = cluster.get("v1", "Secret", resource.namespace, spec.secret_name) or {}
    names = [SIGNING, *([ACCEPTED] if ACCEPTED in (secret.get("data") or {}) else [])]
    found = [_named(cluster, resource, field, SecretKey(name=spec.secret_name, key=name), host) for name in names]
    problem = next((problem for _, problem, _ in found if problem), "")
    keys = () if problem else tuple(key for key, _, _ in found)
    try:
        if keys:
            Signing(keys)
    except ConfigError as error:
        return (), f"{field}: Secret {resource.namespace}/{spec.secret_name}: {error}"
    return keys, problem


def read(cluster: Cluster, resource: Resource, *, prepared: bool) -> Credentials:
    """What pods get of the user's Secrets. Whoever may create a resource chooses the image that reads them there."""
    serving, target = resource.spec.serving, resource.spec.target
    api_key, problems, unusable = "", [], set()
    host = f"http://{resource.name}.{resource.namespace}.svc"
    if serving.api_key_secret is not None:
        api_key, problem, refused = _named(cluster, resource, "serving.apiKeySecret", serving.api_key_secret, host)
        problems.append(problem)
        unusable |= {"serving.apiKeySecret"} if refused else set()
    if target.token_secret is not None and not prepared:
        # Where the author chooses what runs, the token is theirs to read: its owner must allow this very deployment.
        url = host if is_chosen(resource) else HUB
        _, problem, refused = _named(cluster, resource, "target.tokenSecret", target.token_secret, url)
        problems.append(problem)
        unusable |= {"target.tokenSecret"} if refused else set()
    signing, problem = _signing(cluster, resource, host)
    problems.append(problem)
    # Nothing starts without the key: what it made would be unsigned, or refused.
    unusable |= {"weights.signing"} if problem else set()
    return Credentials(api_key, signing, next(filter(None, problems), ""), frozenset(unusable))
