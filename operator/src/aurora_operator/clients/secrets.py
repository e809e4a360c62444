"""Values of Secrets, checked where they are read: what is wrong with one is reported without a character of it."""

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from aurora_core.credentials import clean
from aurora_core.errors import ConfigError

from aurora_operator.api import GROUP
from aurora_operator.errors import SecretValueError

Form = Literal["header", "basic", "pem"]
ALLOWED_HOSTS = f"{GROUP}/allowed-hosts"
"""Annotation of a Secret: the servers that it may be used for, separated by commas or spaces."""
_PORTS = {"http://": ":80", "https://": ":443"}
_PEM = "-----BEGIN "


def _flaw(text: str, form: Form) -> str:
    """What keeps a value from being used, or an empty string."""
    if form == "header":
        try:
            clean(text, "")
        except ConfigError as error:
            return str(error).strip()
        return ""
    checks = {
        "pem": (
            (not text.isascii() or "\0" in text, "is not ASCII, as PEM is"),
            (_PEM not in text, f"is not PEM: it has no {_PEM.strip()}"),
        ),
        "basic": (
            (len(text.splitlines()) > 1, "has several lines, where one line is needed"),
            (not text.isprintable(), "contains control characters"),
        ),
    }
    found = ((not text, "is empty"), *checks[form])
    return next((message for wrong, message in found if wrong), "")


def check_consent(secret: Mapping[str, Any] | None, name: str, url: str, trusted: Collection[str] = ()) -> None:
    """Whether a Secret may be used for a server, which its own owner says, or the operator's administrator.

    Whoever may name a Secret in a resource may not thereby have it sent to a server of their choice, nor read it.

    Args:
        secret: as the API server has it; what does not exist can be used for nothing.
        name: its name, for the message.
        url: of the server.
        trusted: servers that the administrator named: host or host:port, with https:// before it or without.

    Raises:
        SecretValueError: neither names the server; says what to do.
    """
    parts = urlsplit(url.lower())
    host, scheme = parts.hostname or "", f"{parts.scheme}://"
    host = f"[{host}]" if ":" in host else host
    ports = "", parts.netloc.removeprefix(host) or _PORTS[scheme]
    names = {f"{before}{host}{after}" for before in ("", scheme) for after in ports}
    own = ((secret or {}).get("metadata") or {}).get("annotations") or {}
    allowed = {*re.split(r"[\s,]+", str(own.get(ALLOWED_HOSTS, "")).lower()), *trusted}
    if secret is not None and not names & allowed:
        raise SecretValueError(
            f"secret {name} does not allow its use for {host}: whoever owns it runs "
            f"kubectl annotate secret {name} {ALLOWED_HOSTS}={host}"
        )


def value(secret: Mapping[str, Any] | None, name: str, key: str, form: Form) -> str:
    """A value of a Secret, without the white space around it.

    Args:
        secret: as the API server has it, or None where there is none.
        name: its name, for the message.
        key: which value.
        form: what it is used as: in a header as it is, as user or password, or as certificates or a private key.

    Raises:
        SecretValueError: there is none, or not one of this form; names Secret and key, and never quotes the value.
    """
    where = f"secret {name}"
    data = (secret or {}).get("data") or {}
    if key not in data:
        raise SecretValueError(f"{where} {'does not exist' if secret is None else f'has no key {key}'}")
    flaw = "is not valid UTF-8 text"
    try:
        text = base64.b64decode(data[key], validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        # The exception quotes the value: it must not become this one's context.
        pass
    else:
        flaw = _flaw(text, form)
        if not flaw:
            return text
    raise SecretValueError(f"{where}, key {key}: the value {flaw}")
