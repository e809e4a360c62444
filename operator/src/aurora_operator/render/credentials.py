"""The random credentials between operator, agent, engine and trainer, and what makes pods follow a change of them."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

NAMES = ("admin", "agent", "samples")
"""Keys of the Secret NAME-keys: of the engine's control routes, of the agent, of the trainer's sample endpoint."""
SIGNING, ACCEPTED = "key", "previous"
"""Keys of the Secret that weights.signing names; the second may be missing."""
ANNOTATION = "aurora-operator.io/credentials"
"""On pod templates: another value means other pods."""


def complete(found: Mapping[str, str], fresh: Mapping[str, str]) -> dict[str, str]:
    """All credentials: those that are there, and fresh ones for what is missing."""
    return {name: found.get(name) or fresh[name] for name in NAMES}


def stamp(credentials: Mapping[str, str], *values: str) -> str:
    """A short keyed hash of some of the credentials and of further values.

    Keyed with a random credential, because a plain hash of a short API key could be reversed by whoever reads pods.
    """
    text = json.dumps(values).encode()
    return hmac.new(credentials["admin"].encode(), text, hashlib.sha256).hexdigest()[:16]


def started_with(live: Mapping[str, Any]) -> str:
    """The stamp of the pods that an object makes, a RayCluster's by its head; empty where it has none."""
    spec = live.get("spec") or {}
    template = (spec.get("headGroupSpec") or spec).get("template") or {}
    return str(((template.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION) or "")
