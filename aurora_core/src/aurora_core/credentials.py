"""API keys and tokens as processes read them: validated once, and never part of a message."""

import os
from collections.abc import Mapping, MutableMapping

from aurora_core.errors import ConfigError

_MOST = 4096


def clean(value: str, name: str) -> str:
    """A credential without the white space around it, which `echo key > file` leaves behind.

    Args:
        value: what was configured.
        name: what to call it in an error.

    Raises:
        ConfigError: it cannot be sent in an HTTP header. The message names the credential and never its value.
    """
    stripped = value.strip()
    if not stripped:
        problem = "is empty"
    elif len(stripped) > _MOST:
        problem = f"is longer than {_MOST} characters"
    elif any(not "!" <= character <= "~" for character in stripped):
        problem = "has white space, line breaks or characters other than ASCII: it is no API key or token"
    else:
        return stripped
    raise ConfigError(f"{name} {problem}")


def from_environment(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """A credential from an environment variable; empty where the variable is not set at all.

    Raises:
        ConfigError: it is set, to something that is no credential.
    """
    value = environment.get(name)
    return "" if value is None else clean(value, f"the environment variable {name}")


def taken(name: str, environment: MutableMapping[str, str] = os.environ) -> str:
    """A credential as :func:`from_environment` reads it, removed from there: processes started later do not have it.

    Raises:
        ConfigError: it is set, to something that is no credential.
    """
    try:
        return from_environment(name, environment)
    finally:
        environment.pop(name, None)
